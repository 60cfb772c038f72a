"""y = W x with W in 4-bit codes and a scale and zero per group of inputs, without unpacking W.

Cost for [out, in] and m vectors: 2 m out in flops and out in / 2 bytes of codes (plus 4 to 8 bytes per group). One vector is memory bound:
the floor is one read of the codes. The fast path writes x in 24 bits as three signed bytes with a unit for each 8 inputs, sums the products
of nibbles and bytes exactly in 32 bits, and multiplies by the scale once per 8 inputs: 14 instructions for 128 weights. Where a processor
can't, groups are odd or vectors are many, rows are dequantized into cache and multiplied by BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from kernels.compiling import kernel
from kernels.quantization import simd, triton_paths
from kernels.quantization.dequantize import check, dequantize4, dequantize4_reference
from kernels.quantization.simd import first_lane, fused, load, multiply, prefetch, splat, spread, total

#: Weights of a block: 64 bytes of codes, one register.
BLOCK = 128
#: Largest integer for an input: three signed bytes, and 8 products with 15 stay below 2^31.
TOP = 127 << 16
#: Smallest unit of inputs: those below it lose bits or become 0, as on a processor that flushes subnormal numbers.
TINY = float(np.finfo(np.float32).tiny)
#: Bytes that prefetches run ahead: the processor's own stop at the end of a page.
AHEAD = 4096
#: Most vectors that are multiplied one by one; with more, dequantizing costs little beside a product by BLAS.
FEW = 16
#: Rows of a tile, in codes for several vectors (read once from memory) or dequantized: about what a second-level cache holds.
TILE = 128


def gemv4_reference(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[out] or [m, out] float64 of codes [out, in / 2] uint8 (low nibble first), scale and zero [out, groups], x [in] or [m, in]."""
    return x.astype(np.float64) @ dequantize4_reference(packed, scale.astype(np.float64), zero.astype(np.float64)).T


def gemv4(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same in float32. Groups of 32, 64 or a multiple of 128 inputs are fast; in must be a multiple of twice the number of groups.

    Scales and zeros are read as float16 if both are stored so, else as float32. The rounding of x is at most 2^-24 of the largest of its 8
    neighbours. ValueError when shapes do not fit.
    """
    check(packed, scale, zero)
    inputs, groups = 2 * packed.shape[1], scale.shape[1]
    if x.shape[-1] != inputs or x.ndim > 2:
        raise ValueError(f"Shapes do not fit: codes for {len(packed)} x {inputs}, x {x.shape}.")
    packed, x = np.ascontiguousarray(packed), np.ascontiguousarray(x, dtype=np.float32)
    stored = np.float16 if scale.dtype == zero.dtype == np.float16 else np.float32
    scale, zero = np.ascontiguousarray(scale, dtype=stored), np.ascontiguousarray(zero, dtype=stored)
    rows, size = x.reshape(-1, inputs), inputs // groups
    out = None
    if len(rows) <= FEW and simd.HAS_DOT and inputs % BLOCK == 0 and (size % BLOCK == 0 or size in (32, 64)):
        bits = np.uint16 if stored == np.float16 else np.float32
        out = _whole(packed, scale.view(bits), zero.view(bits), rows)
    if out is None:
        out = _tiles(packed, scale, zero, rows)
    return out.reshape(*x.shape[:-1], len(packed))


def _tiles(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, rows: np.ndarray) -> np.ndarray:
    out, columns = torch.empty(len(packed), len(rows)), torch.from_numpy(rows).T
    buffer = np.empty((min(TILE, len(packed)), 2 * packed.shape[1]), dtype=np.float32)
    for first in range(0, len(packed), TILE):
        tile = slice(first, first + TILE)
        weight = dequantize4(packed[tile], scale[tile], zero[tile], out=buffer[: len(packed[tile])])
        torch.mm(torch.from_numpy(weight), columns, out=out[tile])
    return out.T.contiguous().numpy()


def gemv4_tensors(packed: Tensor, scale: Tensor, zero: Tensor, x: Tensor) -> Tensor:
    """The same for tensors on one device: on a GPU one vector takes Triton's kernel, several are multiplied by dequantized weights."""
    if not packed.is_cuda:
        return torch.from_numpy(gemv4(*(part.detach().numpy() for part in (packed, scale, zero, x))))
    check(packed, scale, zero)
    gpu = triton_paths(packed)
    if gpu and x.ndim == 1:
        return gpu.gemv4(packed, scale, zero, x)
    codes = torch.stack([packed & 15, packed >> 4], -1).reshape(*scale.shape, -1)
    return x.float() @ (scale[..., None] * (codes - zero[..., None])).reshape(len(packed), -1).float().T


def _whole(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """One vector after the other; None when an input is not finite."""
    count, inputs = rows.shape
    # torch aligns to 64 bytes; a register that straddles two cache lines costs two loads.
    limbs = torch.empty(count, 3 * inputs, dtype=torch.uint8).numpy()
    units = torch.empty(count, inputs // 8, dtype=torch.float32).numpy()
    sums = np.empty((count, scale.shape[1]), dtype=np.float32)
    for i in range(count):
        if not _split(rows[i], limbs[i].view(np.int8), units[i], sums[i]):
            return None
    out, step = np.empty((count, len(packed)), dtype=np.float32), max(1, len(packed)) if count == 1 else TILE
    for first in range(0, len(packed), step):
        tile = slice(first, first + step)
        for i in range(count):
            _rows(packed[tile], scale[tile], zero[tile], limbs[i], units[i], sums[i], out[i, tile])
    return out


@kernel
def _split(x: np.ndarray, limbs: np.ndarray, units: np.ndarray, sums: np.ndarray) -> bool:
    """For each block of 128 inputs three limbs, the highest first, each of 64 even and 64 odd inputs; a unit for each 8 inputs; minus the
    sum of each group. False when an input is not finite."""
    size = len(x) // len(sums)
    for g in range(len(sums)):
        value = np.float64(0)
        for k in range(g * size, (g + 1) * size):
            value -= np.float64(x[k])
        if not np.isfinite(value):
            return False
        sums[g] = value
    for lane in range(len(units)):
        largest = np.float32(0)
        for k in range(8 * lane, 8 * lane + 8):
            largest = max(largest, abs(x[k]))
        units[lane] = max(np.float64(largest) / TOP, TINY)
        inverse = 1 / np.float64(units[lane])
        place = lane // 16 * 384 + lane % 16 * 4
        for k in range(8):
            q = np.int32(np.rint(np.float64(x[8 * lane + k]) * inverse))
            at = place + 64 * (k % 2) + k // 2
            low = np.int8(q)
            middle = np.int8((q - low) >> 8)
            limbs[at + 256], limbs[at + 128], limbs[at] = low, middle, np.int8(((q - low) >> 8) - middle >> 8)
    return True


@intrinsic
def _products(typing_context: Any, codes: Any, place: Any, limbs: Any, start: Any) -> Any:
    """Sums over each lane's eight weights of code times input, in units of the lane: 64 bytes of codes against three limbs."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        data, at, parts, first = values
        word = builder.load(simd.pointer(context, builder, codes, data, at, simd.WORDS), align=1)
        nibble = simd.constant(0x0F0F0F0F)
        even, odd = builder.and_(word, nibble), builder.and_(builder.lshr(word, simd.constant(4)), nibble)
        value = simd.constant(0)
        for limb in range(3):
            if limb:
                value = builder.shl(value, simd.constant(8))
            for parity, nibbles in enumerate((even, odd)):
                offset = builder.add(first, ir.Constant(first.type, 128 * limb + 64 * parity))
                signed = builder.load(simd.pointer(context, builder, limbs, parts, offset, simd.WORDS), align=1)
                value = simd.dot(builder, value, nibbles, signed)
        return builder.sitofp(value, simd.FLOATS)

    return simd.floats(codes, types.intp, limbs, types.intp), emit


_one, _two, _four = spread(1), spread(2), spread(4)


@kernel
def _add(codes: np.ndarray, at: int, limbs: np.ndarray, units: np.ndarray, block: int, scale: Any, value: Any) -> Any:
    """`value` and the block's sums in units of the inputs and their weights' scales."""
    prefetch(codes, at + 64 * block + AHEAD)
    return fused(_products(codes, at + 64 * block, limbs, 384 * block), multiply(scale, load(units, 16 * block)), value)


@kernel
def _rows(
    packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, limbs: np.ndarray, units: np.ndarray, sums: np.ndarray, out: np.ndarray
) -> None:
    """Two rows at a time share the loads of x: one of each half, so that both are long streams."""
    groups, width = scale.shape[1], packed.shape[1]
    blocks, middle = width // 64, (len(packed) + 1) // 2
    codes, scales, zeros = packed.reshape(-1), scale.reshape(-1), zero.reshape(-1)
    for o in range(middle):
        p = min(o + middle, len(packed) - 1)
        at, bt, s_at, t_at = o * width, p * width, o * groups, p * groups
        # What the zeros take off: the sum over groups of scale, zero and the sum of the inputs (its sign is in `sums`).
        first, second = splat(np.float32(0)), splat(np.float32(0))
        rest, other = np.float32(0), np.float32(0)
        for g in range(0, groups - 15, 16):
            first = fused(multiply(load(scales, s_at + g), load(zeros, s_at + g)), load(sums, g), first)
            second = fused(multiply(load(scales, t_at + g), load(zeros, t_at + g)), load(sums, g), second)
        for g in range(groups // 16 * 16, groups):
            rest += first_lane(multiply(_one(scales, s_at + g), _one(zeros, s_at + g))) * sums[g]
            other += first_lane(multiply(_one(scales, t_at + g), _one(zeros, t_at + g))) * sums[g]
        if groups == blocks:
            for g in range(groups):
                first = _add(codes, at, limbs, units, g, _one(scales, s_at + g), first)
                second = _add(codes, bt, limbs, units, g, _one(scales, t_at + g), second)
        elif groups < blocks:
            for g in range(groups):
                s, t = _one(scales, s_at + g), _one(scales, t_at + g)
                for block in range(g * (blocks // groups), (g + 1) * (blocks // groups)):
                    first = _add(codes, at, limbs, units, block, s, first)
                    second = _add(codes, bt, limbs, units, block, t, second)
        elif groups == 2 * blocks:
            for block in range(blocks):
                first = _add(codes, at, limbs, units, block, _two(scales, s_at + 2 * block), first)
                second = _add(codes, bt, limbs, units, block, _two(scales, t_at + 2 * block), second)
        else:
            for block in range(blocks):
                first = _add(codes, at, limbs, units, block, _four(scales, s_at + 4 * block), first)
                second = _add(codes, bt, limbs, units, block, _four(scales, t_at + 4 * block), second)
        out[o], out[p] = total(first) + rest, total(second) + other
