"""y = W x with W in 4-bit codes and a scale and zero per group of inputs, without unpacking W.

Cost for [out, in]: 2 out in flops and out in / 2 bytes of codes (plus 4 to 8 bytes per group): memory bound, the floor is one read of the
codes. Writing y_o = sum_g s_og (sum_i q_oi x_i - z_og sum_i x_i) leaves one multiplication per weight.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def gemv4_reference(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[out] float64 of codes [out, in / 2] uint8 (low nibble first), scale and zero [out, groups], x [in]."""
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1).astype(np.float64)
    size = codes.shape[1] // scale.shape[1]
    weight = (codes - np.repeat(zero.astype(np.float64), size, 1)) * np.repeat(scale.astype(np.float64), size, 1)
    return weight @ x.astype(np.float64)


def gemv4(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same in float32: packed [out, in / 2] uint8, scale and zero [out, groups] float32, x [in] float32; returns [out] float32.

    in must be a multiple of twice the number of groups (ValueError otherwise).
    """
    groups, columns = scale.shape[1], 2 * packed.shape[1]
    if columns != len(x) or columns % (2 * groups) or zero.shape != scale.shape or len(scale) != len(packed):
        raise ValueError(
            f"Shapes do not fit: codes for {packed.shape[0]} x {columns}, scales {scale.shape}, zeros {zero.shape}, x {x.shape}."
        )
    out = np.empty(len(packed), dtype=np.float32)
    total = x.reshape(groups, -1).sum(1).astype(np.float32)
    _gemv4(np.ascontiguousarray(packed), scale, zero, np.ascontiguousarray(x[0::2]), np.ascontiguousarray(x[1::2]), total, out)
    return out


@njit(cache=True, nogil=True, fastmath=True)
def _gemv4(
    packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, even: np.ndarray, odd: np.ndarray, total: np.ndarray, out: np.ndarray
) -> None:
    groups = scale.shape[1]
    size = packed.shape[1] // groups
    for o in range(len(packed)):
        row = packed[o]
        result = np.float32(0)
        for g in range(groups):
            # Slices, so that every index counts from 0 and needs no check for the end of the array.
            codes, first, second = row[g * size : (g + 1) * size], even[g * size : (g + 1) * size], odd[g * size : (g + 1) * size]
            low = np.float32(0)
            for i in range(size):
                byte = np.int32(codes[i])
                low += np.float32(np.int32(byte & 15)) * first[i] + np.float32(np.int32(byte >> 4)) * second[i]
            result += scale[o, g] * (low - zero[o, g] * total[g])
        out[o] = result
