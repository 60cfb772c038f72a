"""Fast Walsh-Hadamard transform.

Cost for rows of n float32: n log2 n additions and one read and one write of the row; a row of 1024 stays in the first-level cache, so the
floor is the copy of the matrix.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor


def _check(n: int) -> None:
    if n < 1 or n & (n - 1):
        raise ValueError(f"The Hadamard transform needs a power of two, not {n}.")


def hadamard_reference(x: Tensor) -> Tensor:
    """Orthonormal Walsh-Hadamard transform of the last axis (natural order), [..., n] with n a power of two; ValueError otherwise.

    It is its own inverse.
    """
    n = x.shape[-1]
    _check(n)
    shape, y = x.shape, x
    half = 1
    while half < n:
        y = y.reshape(-1, n // (2 * half), 2, half)
        y = torch.stack([y[:, :, 0] + y[:, :, 1], y[:, :, 0] - y[:, :, 1]], 2)
        half *= 2
    return y.reshape(shape) * n**-0.5


def hadamard(x: Tensor) -> Tensor:
    """The same transform, one row after the other in cache. float32 on the CPU takes the fast path; anything else the reference."""
    n = x.shape[-1]
    _check(n)
    if x.dtype != torch.float32 or x.device.type != "cpu" or n < 8:
        return hadamard_reference(x)
    y = x.detach().clone(memory_format=torch.contiguous_format)
    _transform(y.numpy().reshape(-1, n))
    return y


def hadamard_(x: Tensor) -> Tensor:
    """In place on a contiguous float32 CPU tensor whose last axis is a power of two of at least 8; ValueError otherwise."""
    n = x.shape[-1]
    _check(n)
    if x.dtype != torch.float32 or x.device.type != "cpu" or not x.is_contiguous() or n < 8:
        raise ValueError("hadamard_ needs a contiguous float32 CPU tensor with a last axis of at least 8; use hadamard.")
    _transform(x.detach().numpy().reshape(-1, n))
    return x


@njit(cache=True, nogil=True)
def _transform(rows: np.ndarray) -> None:
    """Wide strides first, two stages per pass over four separate slices: few enough pointers for the compiler to check that they do not
    overlap, so the loops vectorise. The last eight neighbours are done in registers."""
    n = rows.shape[1]
    scale = np.float32(1.0 / np.sqrt(n))
    for r in range(rows.shape[0]):
        row = rows[r]
        for i in range(n):
            row[i] *= scale
        half = n
        while half >= 32:
            s = half // 4
            for start in range(0, n, half):
                _four(
                    row[start : start + s],
                    row[start + s : start + 2 * s],
                    row[start + 2 * s : start + 3 * s],
                    row[start + 3 * s : start + half],
                )
            half = s
        while half > 8:
            s = half // 2
            for start in range(0, n, half):
                first, second = row[start : start + s], row[start + s : start + half]
                for i in range(s):
                    a, b = first[i], second[i]
                    first[i] = a + b
                    second[i] = a - b
            half = s
        for i in range(0, n, 8):
            a0, a1, a2, a3, a4, a5, a6, a7 = row[i], row[i + 1], row[i + 2], row[i + 3], row[i + 4], row[i + 5], row[i + 6], row[i + 7]
            b0, b1, b2, b3, b4, b5, b6, b7 = a0 + a4, a1 + a5, a2 + a6, a3 + a7, a0 - a4, a1 - a5, a2 - a6, a3 - a7
            c0, c1, c2, c3, c4, c5, c6, c7 = b0 + b2, b1 + b3, b0 - b2, b1 - b3, b4 + b6, b5 + b7, b4 - b6, b5 - b7
            row[i], row[i + 1], row[i + 2], row[i + 3] = c0 + c1, c0 - c1, c2 + c3, c2 - c3
            row[i + 4], row[i + 5], row[i + 6], row[i + 7] = c4 + c5, c4 - c5, c6 + c7, c6 - c7


@njit(cache=True, nogil=True, inline="always")
def _four(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> None:
    for i in range(len(a)):
        p, q, u, v = a[i] + c[i], b[i] + d[i], a[i] - c[i], b[i] - d[i]
        a[i] = p + q
        b[i] = p - q
        c[i] = u + v
        d[i] = u - v
