"""Fast Walsh-Hadamard transform."""

from __future__ import annotations

import torch
from torch import Tensor


def hadamard_reference(x: Tensor) -> Tensor:
    """Orthonormal Walsh-Hadamard transform of the last axis (natural order), [..., n] with n a power of two; ValueError otherwise.

    It is its own inverse. n log2 n additions per row.
    """
    n = x.shape[-1]
    if n < 1 or n & (n - 1):
        raise ValueError(f"The Hadamard transform needs a power of two, not {n}.")
    shape, y = x.shape, x
    half = 1
    while half < n:
        y = y.reshape(-1, n // (2 * half), 2, half)
        y = torch.stack([y[:, :, 0] + y[:, :, 1], y[:, :, 0] - y[:, :, 1]], 2)
        half *= 2
    return y.reshape(shape) * n**-0.5
