"""Choice among candidate grids for each group of weights: the inner loop of scale searches ("MSE" ranges).

Cost for n weights and k candidates: six operations k n times (19 for the exponent 2.4), all in registers; the floor is arithmetic. Sixteen
candidates go through a row at a time, so that nothing has to be summed across lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from kernels.compiling import kernel
from kernels.quantization import simd
from kernels.quantization.simd import FLOATS, LANES, WORDS, add, constant, fused, larger, load, multiply, smaller, splat, store, whole

#: GPTQ's reference searches with this exponent; 2 is the squared error.
EXPONENTS = (2.0, 2.4)
#: What GPTQ's reference tries: the whole range, then up to 79 % less.
SHRINKS = 1 - np.arange(80) / 100
#: Weights whose errors are summed before they join the rest, which bounds float32's rounding.
CHUNK = 256
#: A fifth of the bits of a float32, taken from this many, are those of its inverse fifth root y, up to 3 %.
FIFTH = 1277906678
#: (1 + h)^(-4/5) for |h| < .156, the highest power first, up to 3e-7: what a^1.2 is divided by a (a y^4), where 1 + h is a y^5.
SERIES = tuple(np.float32(c) for c in (-0.63335472, 0.66022623, -0.67181778, 0.71980262, -0.80000025, 1.00000024))


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
    rows, scale, zero = (np.ascontiguousarray(array, dtype=np.float32) for array in (rows, scale, zero))
    _best_grid(rows, scale, zero, np.float32(top), exponent == 2.4, out)
    return out


@simd.instruction(simd.floats, simd.floats)
def _fifth(builder: ir.IRBuilder, a: ir.Value) -> ir.Value:
    """About a^(-1/5), from a's exponent."""
    bits = builder.sitofp(builder.bitcast(a, WORDS), FLOATS)
    guess = simd.call(builder, "llvm.fma.v16f32", FLOATS, bits, constant(-0.2, FLOATS), constant(float(FIFTH), FLOATS))
    return builder.bitcast(builder.fptosi(guess, WORDS), FLOATS)


@kernel
def _squares(weight: Any, grids: Any) -> Any:
    """The squared errors of a weight on sixteen grids: inverse scales, minus the scales, lowest and highest codes less the zeros."""
    inverse, minus, low, high = grids
    error = fused(smaller(larger(whole(multiply(weight, inverse)), low), high), minus, weight)
    return multiply(error, error)


@kernel
def _power(a: Any) -> Any:
    """a^1.2 to 5e-7; infinity or NaN, of either sign, where a is so."""
    y = _fifth(a)
    y2 = multiply(y, y)
    part = multiply(a, multiply(y2, y2))
    h = fused(part, y, splat(np.float32(-1)))
    series = fused(splat(SERIES[0]), h, splat(SERIES[1]))
    series = fused(series, h, splat(SERIES[2]))
    series = fused(series, h, splat(SERIES[3]))
    series = fused(series, h, splat(SERIES[4]))
    series = fused(series, h, splat(SERIES[5]))
    return multiply(multiply(a, part), series)


@kernel
def _best_grid(rows: np.ndarray, scale: np.ndarray, zero: np.ndarray, top: np.float32, steep: bool, out: np.ndarray) -> None:
    count, n, nothing = scale.shape[1], rows.shape[1], splat(np.float32(0))
    size = -(-count // LANES) * LANES
    inverse, minus, low, high = np.ones(size, np.float32), np.ones(size, np.float32), np.ones(size, np.float32), np.ones(size, np.float32)
    errors, weights = np.empty(size, dtype=np.float32), rows.reshape(-1)
    for r in range(len(rows)):
        for k in range(count):
            inverse[k], minus[k] = np.float32(1) / scale[r, k], -scale[r, k]
            low[k], high[k] = -zero[r, k], top - zero[r, k]
        for k in range(0, size, LANES):
            grids = load(inverse, k), load(minus, k), load(low, k), load(high, k)
            total = nothing
            for start in range(r * n, (r + 1) * n, CHUNK):
                some = nothing
                if steep:
                    for w in range(start, min(start + CHUNK, (r + 1) * n)):
                        some = add(some, _power(_squares(splat(weights[w]), grids)))
                else:
                    for w in range(start, min(start + CHUNK, (r + 1) * n)):
                        some = add(some, _squares(splat(weights[w]), grids))
                total = add(total, some)
            store(errors, k, total)
        least = np.float32(np.inf)
        for k in range(count):
            if np.float32(0) <= errors[k] < least:
                least, out[r] = errors[k], k
