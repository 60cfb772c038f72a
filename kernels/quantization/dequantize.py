"""Codes to float32 weights: uniform grids and tables of levels, a scale (and zero) per group.

Cost per weight: one lookup and four bytes written; memory bound, the floor is the write.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.compiling import kernel
from kernels.quantization import simd
from kernels.quantization.simd import HAS_LOOKUP, load, multiply, splat, subtract

#: Levels of a uniform grid.
UNIFORM = np.arange(16, dtype=np.float32)


def dequantize4_reference(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, levels: np.ndarray = UNIFORM) -> np.ndarray:
    """scale (levels[code] - zero), [out, in] in the dtype of `scale`.

    Codes are [out, in / 2] uint8, low nibble first; scale and zero [out, groups]; levels [16].
    """
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1)
    size = codes.shape[1] // scale.shape[1]
    return np.repeat(scale, size, 1) * (levels.astype(scale.dtype)[codes] - np.repeat(zero, size, 1))


def dequantize4(
    packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, levels: np.ndarray = UNIFORM, out: np.ndarray | None = None
) -> np.ndarray:
    """The same bits in float32, fast: `levels` [16], everything else float32 [out, groups]; into `out` [out, in] if given.

    in must be a multiple of twice the number of groups (ValueError otherwise).
    """
    check(packed, scale, zero)
    out = np.empty((len(packed), 2 * packed.shape[1]), dtype=np.float32) if out is None else out
    fast = HAS_LOOKUP and packed.shape[1] % (8 * scale.shape[1]) == 0
    scale, zero, levels = (np.ascontiguousarray(array, dtype=np.float32) for array in (scale, zero, levels))
    (_lookups if fast else _plain)(np.ascontiguousarray(packed), scale, zero, levels, out)
    return out


def check(packed: Any, scale: Any, zero: Any) -> None:
    """ValueError unless the shapes (of arrays or tensors) fit and the groups divide the codes."""
    fits = packed.ndim == scale.ndim == 2 and zero.shape == scale.shape and len(scale) == len(packed)
    if not fits or not scale.shape[1] or packed.shape[1] % scale.shape[1]:
        raise ValueError(f"Shapes do not fit: packed codes {tuple(packed.shape)}, scales {tuple(scale.shape)}, zeros {tuple(zero.shape)}.")


@kernel
def _plain(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    table = np.empty(16, dtype=np.float32)
    size = packed.shape[1] // scale.shape[1]
    for o in range(len(packed)):
        for g in range(scale.shape[1]):
            for k in range(16):
                table[k] = scale[o, g] * (levels[k] - zero[o, g])
            codes, target = packed[o, g * size : (g + 1) * size], out[o, 2 * g * size : 2 * (g + 1) * size]
            for i in range(size):
                target[2 * i], target[2 * i + 1] = table[codes[i] & 15], table[codes[i] >> 4]


@intrinsic
def _sixteen(typing_context: Any, codes: Any, place: Any, table: Any, out: Any, target: Any) -> Any:
    """Eight bytes of codes to sixteen floats."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        byte, word = ir.IntType(8), ir.IntType(32)
        few = builder.load(simd.pointer(context, builder, codes, values[0], values[1], ir.VectorType(byte, 8)), align=1)
        twice = builder.shuffle_vector(few, few, ir.Constant(ir.VectorType(word, 16), [lane // 2 for lane in range(16)]))
        places = builder.lshr(builder.zext(twice, simd.WORDS), simd.constant([4 * (lane % 2) for lane in range(16)]))
        found = simd.call(builder, "llvm.x86.avx512.permvar.sf.512", simd.FLOATS, values[2], places)  # looks at four bits
        builder.store(found, simd.pointer(context, builder, out, values[3], values[4], simd.FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(codes, types.intp, simd.floats, out, types.intp), code


@kernel
def _lookups(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, levels: np.ndarray, out: np.ndarray) -> None:
    codes, target, size, at = packed.reshape(-1), out.reshape(-1), packed.shape[1] // scale.shape[1], 0
    level = load(levels, 0)
    for o in range(len(packed)):
        for g in range(scale.shape[1]):
            table = multiply(splat(scale[o, g]), subtract(level, splat(zero[o, g])))
            for i in range(at, at + size, 8):
                _sixteen(codes, i, table, target, 2 * i)
            at += size


def lookup_reference(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """table[codes]: points [n, p] by codes [m], [m, p]."""
    return table[codes]


def lookup(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The same for uint8 codes and float32 points of one or two dimensions; IndexError when a code has no point."""
    if codes.dtype != np.uint8 or table.dtype != np.float32 or table.shape[1] > 2:
        return lookup_reference(codes, table)
    if len(codes) and int(codes.max()) >= len(table):
        raise IndexError(f"Code {int(codes.max())} is outside a table of {len(table)} points.")
    out = np.empty((len(codes), table.shape[1]), dtype=np.float32)
    point = np.float32 if table.shape[1] == 1 else np.uint64  # two coordinates are moved as one
    _gather(np.ascontiguousarray(codes), np.ascontiguousarray(table).view(point)[:, 0], out.view(point)[:, 0])
    return out


@kernel
def _gather(codes: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(codes)):
        out[i] = table[codes[i]]
