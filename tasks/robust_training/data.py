"""Splits of the digits and label noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.datasets import digits

TRAIN, TEST = 1203, 594  #: images; every seed has its own split


@dataclass(frozen=True, slots=True)
class Data:
    """Images [n, 64] float32 in [0, 1] and labels [n] int64. Test labels are always right; training labels carry the noise asked for."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def stratified(labels: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """A mask [n] of `size` random elements in which every class has its share of `labels`, to the nearest element."""
    classes, counts = np.unique(labels, return_counts=True)
    quota = counts * (size / len(labels))
    take = np.floor(quota).astype(int)
    largest = np.argsort(take - quota, kind="stable")[: size - take.sum()]
    take[largest] += 1
    chosen = np.zeros(len(labels), dtype=bool)
    for label, count in zip(classes, take, strict=True):
        chosen[generator.permutation(np.flatnonzero(labels == label))[:count]] = True
    return chosen


def flip(labels: np.ndarray, share: float, classes: int, generator: np.random.Generator) -> np.ndarray:
    """`labels` with round(share * n) of them replaced by another class, each wrong class equally likely."""
    noisy = labels.copy()
    index = generator.permutation(len(labels))[: round(share * len(labels))]
    noisy[index] = (noisy[index] + generator.integers(1, classes, len(index))) % classes
    return noisy


def load(n_train: int, label_noise: float, generator: np.random.Generator) -> Data:
    """The split that `generator` draws: `n_train` of its 1,203 training images, and its 594 test images.

    The test set doesn't depend on `n_train` or `label_noise`.
    """
    images, labels = digits()
    test = stratified(labels, TEST, generator)
    train = np.flatnonzero(~test)
    train = train[stratified(labels[train], n_train, generator)]
    return Data(images[train], flip(labels[train], label_noise, 10, generator), images[test], labels[test])
