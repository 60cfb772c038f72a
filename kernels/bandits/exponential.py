"""exp, compiled into its caller, with the same bits on every machine.

Exponential weights feed each exponential back through an importance weight, so that its last bit decides which arms a long run draws. A
call of the C library costs four times as much, keeps its caller's numbers out of registers, and returns bits that depend on the library.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.compiling import kernel

#: Entries of the table: 2^(i/128).
_BITS, _N = 7, 128


def _powers() -> tuple[np.ndarray, np.ndarray]:
    """Doubles h_i nearest to 2^(i/128), and the relative errors e_i they leave: 2^(i/128) = h_i (1 + e_i)."""
    places = 256
    root = 2 << places
    for _ in range(_BITS):
        root = math.isqrt(root << places)
    exact = [1 << places]
    while len(exact) < _N:
        exact.append(exact[-1] * root >> places)
    nearest = [power / (1 << places) for power in exact]
    cut = [int(h * 2**52) << places - 52 for h in nearest]
    return np.array(nearest), np.array([(power - h) / h for power, h in zip(exact, cut, strict=True)])


_NEAREST, _ERRORS = _powers()
#: Bits of h_i less i in the place of the exponent times 128: adding k 2^45 to entry k mod 128 gives the bits of 2^(k/128).
_PLACE = np.uint64(52 - _BITS)
_SCALES = _NEAREST.view(np.uint64) - (np.arange(_N, dtype=np.uint64) << _PLACE)
_INDEX = np.uint64(_N - 1)

_PER_STEP = float.fromhex("0x1.71547652b82fep+7")  # 128 / ln 2
_STEP, _STEP_LOW = float.fromhex("-0x1.62e42fefa0000p-8"), float.fromhex("-0x1.cf79abc9e3b39p-47")  # -ln 2 / 128 in two parts
_ROUND = 1.5 * 2.0**52  # a number far below it, added to it, is rounded to an integer that stands in the last bits
# exp r = 1 + r + C2 r^2 + ... + C5 r^5 for |r| <= ln 2 / 256
_C2, _C3 = float.fromhex("0x1.ffffffffffdbdp-2"), float.fromhex("0x1.555555555543cp-3")
_C4, _C5 = float.fromhex("0x1.55555cf172b91p-5"), float.fromhex("0x1.1111167a4d017p-7")


@intrinsic
def _fma(typing, a, b, c):
    """a b + c, rounded once."""
    return types.float64(a, b, c), lambda context, builder, signature, args: builder.fma(*args)


@intrinsic
def _bits_of(typing, x):
    return types.uint64(x), lambda context, builder, signature, args: builder.bitcast(args[0], ir.IntType(64))


@intrinsic
def _float_of(typing, bits):
    return types.float64(bits), lambda context, builder, signature, args: builder.bitcast(args[0], ir.DoubleType())


@kernel
def exp(x):
    """exp(x) for x <= 700, at most .52 units in the last place off; 0 for x <= -700 (the value is below 1e-304).

    exp x = 2^(k/128) exp r with the integer k nearest to 128 x / ln 2: the algorithm of S. Nagy in Arm's optimized routines, which
    glibc has used since 2.28, with its published coefficients; the fused products are written out, so no compiler chooses them. For
    -512 < x <= 0 the bits are glibc's on processors with FMA (none differed in 3 x 10^9 arguments): the recorded runs were made with
    them.
    """
    k = _fma(_PER_STEP, x, _ROUND)
    bits = _bits_of(k)
    k -= _ROUND
    r = _fma(k, _STEP_LOW, _fma(k, _STEP, x))
    i = bits & _INDEX
    scale = _float_of(_SCALES[i] + (bits << _PLACE))
    rr = r * r
    tail = _fma(rr * rr, _fma(r, _C5, _C4), _fma(rr, _fma(r, _C3, _C2), _ERRORS[i] + r))
    return _fma(scale, tail, scale) if x > -700.0 else 0.0
