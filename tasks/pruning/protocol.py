"""What a pruner receives and what it must return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.mlp import Mlp
from tasks.api import Method

#: One array per layer, shaped like that layer's weights [outputs, inputs].
Layers = Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What the network was trained on: inputs [n, features] float32 and labels [n] int64."""

    inputs: np.ndarray
    labels: np.ndarray


class Pruner(Method, family="pruning"):
    """A one-shot pruner: chooses which weights of a trained network survive. Biases stay as they are and don't count."""

    @abstractmethod
    def prune(self, network: Mlp, data: TrainingData, keep: Sequence[int], rng: np.random.Generator) -> Sequence[Layers]:
        """The weights of a sparse network for each budget: the k-th result has at most `keep[k]` nonzeros over all layers.

        `keep` falls. Each result starts from the trained network, but work may be shared between them. Randomness comes from `rng` only.
        """


def keep_largest(network: Mlp, scores: Layers, count: int) -> list[np.ndarray]:
    """The network's weights with all but the `count` of highest score set to zero, layers competing with one another.

    Scores are finite; ties go to the weight that comes first.
    """
    flat = np.concatenate([score.ravel() for score in scores])
    kept = np.zeros(len(flat), dtype=bool)
    kept[np.argsort(-flat, kind="stable")[:count]] = True
    return [weight * mask for weight, mask in zip(network.weights, split_like(kept, network.weights), strict=True)]


def keep_largest_per_layer(network: Mlp, scores: Layers, count: int) -> list[np.ndarray]:
    """The same with every layer pruned to the same share, rounded down."""
    total = sum(weight.size for weight in network.weights)
    pruned = []
    for weight, score in zip(network.weights, scores, strict=True):
        kept = np.zeros(weight.size, dtype=bool)
        kept[np.argsort(-score.ravel(), kind="stable")[: count * weight.size // total]] = True
        pruned.append(weight * kept.reshape(weight.shape))
    return pruned


def split_like(flat: np.ndarray, layers: Layers) -> list[np.ndarray]:
    """A vector over all weights, cut into one array per layer."""
    ends = np.cumsum([layer.size for layer in layers])[:-1]
    return [part.reshape(layer.shape) for part, layer in zip(np.split(flat, ends), layers, strict=True)]
