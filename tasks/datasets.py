"""Data that ships inside packages, with fingerprints. No downloads."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits: images [1797, 64] float32 in [0, 1] (pixels / 16) and labels [1797] int64. Treat as read-only."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.data / 16.0).astype(np.float32)
    labels = data.target.astype(np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


@cache
def digits_fingerprint() -> str:
    """sha256 of the digits' bytes (images, then labels)."""
    images, labels = digits()
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
