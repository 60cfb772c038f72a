"""Transformed copies of 8x8 digits (what a calibrator may look at) and shifts of the test split (what it is tested on)."""

from __future__ import annotations

from typing import Literal

import numpy as np

Transform = Literal["rotate", "blur", "contrast"]
TRANSFORMS: tuple[Transform, ...] = ("rotate", "blur", "contrast")

Shift = Literal["none", "rotate15", "rotate30", "rotate45", "noise"]
SHIFTS: tuple[Shift, ...] = ("none", "rotate15", "rotate30", "rotate45", "noise")


def transform(name: Transform, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mildly changed copy of images [n, 64] in [0, 1]: rotated -12 degrees, blurred (sigma 0.5), or contrast 0.7 and noise (sd 0.1)."""
    if name == "rotate":
        return _rotated(images, -12.0)
    if name == "contrast":
        return (0.7 * images + rng.normal(0.0, 0.1, images.shape)).astype(np.float32)
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images.reshape(-1, 8, 8), sigma=(0, 0.5, 0.5)).reshape(images.shape)


def shifted(name: Shift, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The test images [n, 64] under a shift: rotated by 15, 30 or 45 degrees, or with Gaussian noise (sd 0.3) on each pixel."""
    if name == "none":
        return images
    if name == "noise":
        return (images + rng.normal(0.0, 0.3, images.shape)).astype(np.float32)
    return _rotated(images, float(name.removeprefix("rotate")))


def _rotated(images: np.ndarray, degrees: float) -> np.ndarray:
    from scipy.ndimage import rotate

    return rotate(images.reshape(-1, 8, 8), degrees, axes=(2, 1), reshape=False, order=1).reshape(images.shape)
