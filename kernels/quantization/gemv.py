"""y = W x with W in 4-bit codes and a scale and zero per group of inputs, without unpacking W.

Cost for [out, in] and m vectors: 2 m out in flops and out in / 2 bytes of codes (plus 4 to 8 bytes per group). One vector is memory bound:
the floor is one read of the codes. The fast path writes x in 16 bits as two signed bytes with a unit for each 128 inputs, sums the products
of nibbles and bytes exactly in 32 bits, and multiplies by the scale and the unit once per 8 inputs: ten instructions for 128 weights, five
of them products. Where a processor can't, or groups are odd, rows are dequantized into cache and multiplied by BLAS.
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
from kernels.quantization.simd import first_lane, fused, load, multiply, splat, spread, store, total

#: Weights of a block: 64 bytes of codes, one register.
BLOCK = 128
#: Largest integer for an input: two signed bytes; a sum of 8 products with 15 is exact in float32.
TOP = 127 << 8
#: Smallest unit of inputs: those below it lose bits or become 0, as on a processor that flushes subnormal numbers.
TINY = np.finfo(np.float32).tiny
#: Bits of the float32 from which on a number without its sign is infinite or not a number.
INFINITE = np.int32(0x7F800000)
#: Rows of a tile, in codes for several vectors (read once from memory) or dequantized: about what a second-level cache holds.
TILE = 128


def gemv4_reference(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[out] or [m, out] float64 of codes [out, in / 2] uint8 (low nibble first), scale and zero [out, groups], x [in] or [m, in]."""
    return x.astype(np.float64) @ dequantize4_reference(packed, scale.astype(np.float64), zero.astype(np.float64)).T


def gemv4(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same in float32. Groups of 32, 64 or a multiple of 128 inputs are fast; in must be a multiple of twice the number of groups.

    Scales and zeros are read as float16 if both are stored so, else as float32. With fast groups an input is rounded by at most 1/64,000 of
    the largest of its block of 128, and the result is the product with these inputs but for float32's rounding. (Peers round each input to
    bfloat16, 1/512 of itself, or blocks of inputs to 8 bits, 1/254 of the largest.) ValueError when shapes do not fit.
    """
    check(packed, scale, zero)
    inputs, groups = 2 * packed.shape[1], scale.shape[1]
    if x.shape[-1] != inputs or x.ndim > 2:
        raise ValueError(f"Shapes do not fit: codes for {len(packed)} x {inputs}, x {x.shape}.")
    packed, x = np.ascontiguousarray(packed), np.ascontiguousarray(x, dtype=np.float32)
    stored = np.float16 if scale.dtype == zero.dtype == np.float16 else np.float32
    scale, zero = np.ascontiguousarray(scale, dtype=stored), np.ascontiguousarray(zero, dtype=stored)
    rows, size = x.reshape(-1, inputs), inputs // groups
    out = np.empty((len(rows), len(packed)), dtype=np.float32)
    bits = np.uint16 if stored == np.float16 else np.float32
    fast = simd.HAS_DOT and inputs % BLOCK == 0 and (size % BLOCK == 0 or size in (32, 64))
    if not (fast and _whole(packed, scale.view(bits), zero.view(bits), rows, out)):
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


@kernel
def _whole(packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, rows: np.ndarray, out: np.ndarray) -> bool:
    """One vector after the other; False when an input is not finite."""
    (count, inputs), groups = rows.shape, scale.shape[1]
    space = np.empty(2 * inputs * count + 63, dtype=np.int8)
    start = -space.ctypes.data % 64  # a register that straddles two cache lines costs two loads
    limbs = space[start : start + 2 * inputs * count].reshape(count, 2 * inputs)
    units, sums = np.empty((count, inputs // BLOCK), dtype=np.float32), np.empty((count, groups), dtype=np.float32)
    for i in range(count):
        if not _split(rows[i], limbs[i], units[i], sums[i]):
            return False
    step = max(1, len(packed)) if count == 1 else TILE
    for first in range(0, len(packed), step):
        for i in range(count):
            tile = slice(first, first + step)
            _rows(packed[tile], scale[tile], zero[tile], limbs[i], units[i], sums[i], out[i, tile])
    return True


@kernel
def _split(x: np.ndarray, limbs: np.ndarray, units: np.ndarray, sums: np.ndarray) -> bool:
    """For each block of 128 inputs a unit and two limbs, the higher first, each of 64 even and 64 odd inputs; minus the sum of each group
    of inputs, as they were rounded. False when an input is not finite."""
    bits, unit_bits, q = x.view(np.int32), units.view(np.int32), np.empty(BLOCK, dtype=np.int32)
    parts = np.empty(len(x) // 32, dtype=np.float32)
    for block in range(len(units)):
        part, at = x[block * BLOCK : (block + 1) * BLOCK], 2 * block * BLOCK
        largest = np.int32(0)
        for k in range(block * BLOCK, (block + 1) * BLOCK):  # floats without their signs are ordered as the integers of their bits
            largest = max(largest, bits[k] & np.int32(0x7FFFFFFF))
        if largest >= INFINITE:
            return False
        unit_bits[block] = largest
        units[block] = max(units[block] * np.float32(1 / TOP), TINY)
        inverse = np.float32(1) / units[block]
        for k in range(BLOCK):
            q[k] = np.int32(np.rint(part[k] * inverse))
        for k in range(4):
            parts[4 * block + k] = units[block] * np.float32(q[32 * k : 32 * k + 32].sum())
        high, low = limbs[at : at + BLOCK], limbs[at + BLOCK : at + 2 * BLOCK]
        for k in range(64):
            high[k] = np.int8((q[2 * k] + np.int32(128)) >> np.int32(8))
        for k in range(64):
            high[64 + k] = np.int8((q[2 * k + 1] + np.int32(128)) >> np.int32(8))
        for k in range(64):
            low[k] = np.int8(q[2 * k])
        for k in range(64):
            low[64 + k] = np.int8(q[2 * k + 1])
    size = len(parts) // len(sums)
    for g in range(len(sums)):
        value = np.float64(0)
        for k in range(g * size, (g + 1) * size):
            value -= parts[k]
        sums[g] = value
    return True


@intrinsic
def _products(typing_context: Any, codes: Any, place: Any, limbs: Any, start: Any) -> Any:
    """Sums over each lane's eight weights of code times input, in the block's unit: 64 bytes of codes against two limbs."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        data, at, parts, first = values
        word = builder.load(simd.pointer(context, builder, codes, data, at, simd.WORDS), align=1)
        nibble = simd.constant(0x0F0F0F0F)
        even, odd = builder.and_(word, nibble), builder.and_(builder.lshr(word, simd.constant(4)), nibble)
        value = simd.constant(0)
        for limb in range(2):
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
def _add(codes: np.ndarray, at: int, limbs: np.ndarray, block: int, step: Any, value: Any) -> Any:
    """`value` and the block's sums in units of the inputs and their weights' scales."""
    return fused(_products(codes, at + 64 * block, limbs, 256 * block), step, value)


@kernel
def _rows(
    packed: np.ndarray, scale: np.ndarray, zero: np.ndarray, limbs: np.ndarray, units: np.ndarray, sums: np.ndarray, out: np.ndarray
) -> None:
    """Two rows at a time share the loads of x: one of each half, so that both are long streams."""
    groups, width = scale.shape[1], packed.shape[1]
    blocks, middle = width // 64, (len(packed) + 1) // 2
    codes, scales, zeros = packed.reshape(-1), scale.reshape(-1), zero.reshape(-1)
    # Scales of the two rows, times the groups' units unless a group has several.
    steps, factors = np.empty(2 * groups, dtype=np.float32), np.ones(groups, dtype=np.float32)
    if groups >= blocks:
        for g in range(groups):
            factors[g] = units[g * blocks // groups]
    for o in range(middle):
        p = min(o + middle, len(packed) - 1)
        at, bt, s_at, t_at = o * width, p * width, o * groups, p * groups
        # What the zeros take off: the sum over groups of scale, zero and the sum of the inputs (its sign is in `sums`).
        first, second = splat(np.float32(0)), splat(np.float32(0))
        rest, other = np.float32(0), np.float32(0)
        for g in range(0, groups - 15, 16):
            s, t = load(scales, s_at + g), load(scales, t_at + g)
            first = fused(multiply(s, load(zeros, s_at + g)), load(sums, g), first)
            second = fused(multiply(t, load(zeros, t_at + g)), load(sums, g), second)
            store(steps, g, multiply(s, load(factors, g)))
            store(steps, groups + g, multiply(t, load(factors, g)))
        for g in range(groups // 16 * 16, groups):
            a, b = first_lane(_one(scales, s_at + g)), first_lane(_one(scales, t_at + g))
            rest += a * first_lane(_one(zeros, s_at + g)) * sums[g]
            other += b * first_lane(_one(zeros, t_at + g)) * sums[g]
            steps[g], steps[groups + g] = a * factors[g], b * factors[g]
        if groups == blocks:
            for g in range(groups):
                first = _add(codes, at, limbs, g, _one(steps, g), first)
                second = _add(codes, bt, limbs, g, _one(steps, groups + g), second)
        elif groups < blocks:
            for g in range(groups):
                s, t = _one(steps, g), _one(steps, groups + g)
                for block in range(g * (blocks // groups), (g + 1) * (blocks // groups)):
                    first = _add(codes, at, limbs, block, multiply(s, _one(units, block)), first)
                    second = _add(codes, bt, limbs, block, multiply(t, _one(units, block)), second)
        elif groups == 2 * blocks:
            for block in range(blocks):
                first = _add(codes, at, limbs, block, _two(steps, 2 * block), first)
                second = _add(codes, bt, limbs, block, _two(steps, groups + 2 * block), second)
        else:
            for block in range(blocks):
                first = _add(codes, at, limbs, block, _four(steps, 4 * block), first)
                second = _add(codes, bt, limbs, block, _four(steps, groups + 4 * block), second)
        out[o], out[p] = total(first) + rest, total(second) + other
