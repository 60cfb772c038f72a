"""Choice among candidate grids for each group of weights: the inner loop of scale searches ("MSE" ranges).

Cost for n weights and k candidates: about 10 k n operations (30 k n for the exponent 2.4), all in cache; the floor is arithmetic.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: GPTQ's reference searches with this exponent; 2 is the squared error.
EXPONENTS = (2.0, 2.4)
#: What GPTQ's reference tries: the whole range, then up to 79 % less.
SHRINKS = 1 - np.arange(80) / 100
#: Bits of the float32 from which a fifth of another's bits is taken for its inverse fifth root: 6/5 of 127 in the exponent.
FIFTH = np.int32(1278424678)


def best_grid_reference(rows: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: int, exponent: float = 2.0) -> np.ndarray:
    """Index [r] of the candidate grid with the least sum of |error|^exponent for each of [r, n] weights, in float64.

    Candidates are scale (q - zero), q in 0..top, with `scale` > 0 and `zero` [r, k]. A tie takes the first; a row with NaN gets 0.
    """
    errors = np.empty(scale.shape)
    for k in range(scale.shape[1]):
        s, z = scale[:, k, None].astype(np.float64), zero[:, k, None].astype(np.float64)
        rebuilt = s * (np.clip(np.round(rows / s) + z, 0, top) - z)
        errors[:, k] = (np.abs(rebuilt - rows) ** exponent).sum(1)
    return np.nan_to_num(errors, nan=np.inf).argmin(1)


def best_grid(rows: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: int, exponent: float = 2.0) -> np.ndarray:
    """The same in float32, all candidates of a row while it is in cache; the exponent is 2 or 2.4 (ValueError otherwise).

    Sums that agree to a few units of 2^-20 may come out in either order.
    """
    if exponent not in EXPONENTS:
        raise ValueError(f"The exponent is one of {EXPONENTS}, not {exponent}.")
    if rows.ndim != 2 or scale.shape != zero.shape or len(scale) != len(rows):
        raise ValueError(f"Shapes do not fit: weights {rows.shape}, scales {scale.shape}, zeros {zero.shape}.")
    out = np.zeros(len(rows), dtype=np.int64)
    parts = (np.ascontiguousarray(array, dtype=np.float32) for array in (rows, scale, zero))
    _best_grid(*parts, np.float32(top), exponent == 2.4, out)
    return out


# Sums may be regrouped, so that they vectorise; NaN and infinity keep their meaning.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _best_grid(rows: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: np.float32, steep: bool, out: np.ndarray) -> None:
    squares = np.empty(rows.shape[1], dtype=np.float32)
    root = np.empty_like(squares)
    bits, root_bits = squares.view(np.int32), root.view(np.int32)
    for r in range(len(rows)):
        row, least = rows[r], np.float32(np.inf)
        for k in range(scale.shape[1]):
            s, z = scale[r, k], zero[r, k]
            inverse, low, high = np.float32(1) / s, -z, top - z
            error = np.float32(0)
            for i in range(len(row)):
                q = np.float32(np.rint(row[i] * inverse))
                q = q if q > low else low
                q = q if q < high else high
                difference = row[i] - q * s
                squares[i] = difference * difference
                error += squares[i]
            if steep:
                error = np.float32(0)
                # a^-1/5 from the exponent's bits to 5 %, then Newton's method: .8 %, 2e-4, 1e-7.
                for i in range(len(row)):
                    root_bits[i] = FIFTH - bits[i] // np.int32(5)
                for i in range(len(row)):
                    a, y = squares[i], root[i]
                    for _ in range(3):
                        y2 = y * y
                        y *= np.float32(1.2) - np.float32(0.2) * a * (y2 * y2 * y)
                    y2 = y * y
                    error += a * (a * y2) * y2
            if error < least:
                least = error
                out[r] = k
