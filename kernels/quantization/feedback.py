"""The inner sweep of GPTQ over one block of columns, row by row.

Cost for a block [out, b]: out b^2 flops; a row of 128 and the 64 KiB of the factor stay in cache. The update of the columns behind the
block is one matrix product, left to BLAS.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def round_block_reference(
    block: np.ndarray, factor: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and errors [out, b] of quantising a block's columns left to right with error feedback, in float64.

    `factor` [b, b] is the upper Cholesky factor's diagonal block; `scale` and `zero` [out, b] are the grid of each weight, codes lie in
    0..top. Ties round half to even.
    """
    work = block.astype(np.float64)
    codes, errors = np.zeros(block.shape, dtype=np.uint8), np.zeros(block.shape)
    for i in range(block.shape[1]):
        codes[:, i] = np.clip(np.round(work[:, i] / scale[:, i]) + zero[:, i], 0, top)
        errors[:, i] = (work[:, i] - (codes[:, i] - zero[:, i].astype(np.float64)) * scale[:, i]) / factor[i, i]
        work[:, i:] -= np.outer(errors[:, i], factor[i, i:])
    return codes, errors


def round_block(block: np.ndarray, factor: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The same in float32: codes uint8 and errors float32. `block` is not changed; a NaN weight gets code 0 and spreads as NaN errors."""
    codes, errors = np.empty(block.shape, dtype=np.uint8), np.empty(block.shape, dtype=np.float32)
    _round_block(np.ascontiguousarray(block), np.ascontiguousarray(factor), scale, zero, np.float32(top), codes, errors)
    return codes, errors


#: Rows worked on together: a tile of 64 x 128 floats fills a first-level cache, and each step is a loop over neighbours.
TILE = 64


@njit(cache=True, nogil=True)
def _round_block(
    block: np.ndarray, factor: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: np.float32, codes: np.ndarray, errors: np.ndarray
) -> None:
    rows, columns = block.shape
    work = np.empty((columns, TILE), dtype=np.float32)
    error, s, z = np.empty(TILE, dtype=np.float32), np.empty(TILE, dtype=np.float32), np.empty(TILE, dtype=np.float32)
    for first in range(0, rows, TILE):
        size = min(TILE, rows - first)
        for r in range(size):
            for i in range(columns):
                work[i, r] = block[first + r, i]
        for i in range(columns):
            column = work[i]
            inverse = np.float32(1) / factor[i, i]
            for r in range(size):
                s[r], z[r] = scale[first + r, i], zero[first + r, i]
            for r in range(size):
                code = np.float32(np.rint(column[r] / s[r])) + z[r]
                code = code if code > np.float32(0) else np.float32(0)  # NaN becomes 0
                code = code if code < top else top
                error[r] = (column[r] - (code - z[r]) * s[r]) * inverse
                column[r] = code
            for j in range(i + 1, columns):
                f, target = factor[i, j], work[j]
                for r in range(TILE):
                    target[r] -= error[r] * f
            for r in range(size):
                errors[first + r, i] = error[r]
        for r in range(size):
            for i in range(columns):
                codes[first + r, i] = np.uint8(work[i, r])
