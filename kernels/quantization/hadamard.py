"""Fast Walsh-Hadamard transform.

Cost for rows of n float32: n log2 n additions and one read and one write of the row; a row of 1024 stays in the first-level cache and is
passed over twice there, so the floor is the copy of the matrix.
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
    """The same transform. float32 on the CPU takes the fast path, floats of at most 32 bits on a GPU Triton's, others the reference."""
    n = x.shape[-1]
    _check(n)
    gpu = triton_paths(x)
    if gpu and x.dtype in (torch.float32, torch.float16, torch.bfloat16) and n <= gpu.LONGEST:
        return gpu.hadamard(x)
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


def _butterflies(parts: int, inside: bool) -> Any:
    """A pass over `parts` vectors of sixteen lanes, `stride` elements apart: each is multiplied by `factor`, then log2(parts) stages, wide
    ones first, and if `inside` the four stages within a vector."""

    @intrinsic
    def butterflies(typing_context: Any, array: Any, start: Any, stride: Any, factor: Any) -> Any:
        def code(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            data, first, step, scale = values
            places = [builder.add(first, builder.mul(step, ir.Constant(step.type, k))) for k in range(parts)]
            pointers = [simd.pointer(context, builder, array, data, place, simd.FLOATS) for place in places]
            scales = simd.broadcast(builder, scale)
            v = [builder.fmul(builder.load(pointer, align=4), scales) for pointer in pointers]
            half = parts // 2
            while half:
                for k in (k for k in range(parts) if not k & half):
                    v[k], v[k + half] = builder.fadd(v[k], v[k + half]), builder.fsub(v[k], v[k + half])
                half //= 2
            for distance in (8, 4, 2, 1) if inside else ():
                v = [simd.butterfly(builder, value, distance) for value in v]
            for value, pointer in zip(v, pointers, strict=True):
                builder.store(value, pointer, align=4)
            return context.get_dummy_value()

        return types.void(array, types.intp, types.intp, types.float32), code

    return butterflies


_across2, _across4, _across8 = (_butterflies(parts, False) for parts in (2, 4, 8))
_all16, _all32, _all64, _all128 = (_butterflies(parts, True) for parts in (1, 2, 4, 8))


@kernel
def _transform(rows: np.ndarray) -> None:
    """Wide strides first, three stages in each pass over the row; the last pass does up to seven on 128 neighbours in registers."""
    n = rows.shape[1]
    flat, scale = rows.reshape(-1), np.float32(1.0 / np.sqrt(n))
    if n == 8:
        _eights(flat, scale)
        return
    for first in range(0, len(flat), n):
        half, factor = n, scale
        while half > 128:
            parts = 8 if half >= 1024 else half // 128
            stride = half // parts
            for start in range(first, first + n, half):
                for i in range(start, start + stride, 16):
                    if parts == 8:
                        _across8(flat, i, stride, factor)
                    elif parts == 4:
                        _across4(flat, i, stride, factor)
                    else:
                        _across2(flat, i, stride, factor)
            half, factor = stride, np.float32(1)
        if half == 128:
            for start in range(first, first + n, 128):
                _all128(flat, start, 16, factor)
        elif half == 64:
            _all64(flat, first, 16, factor)
        elif half == 32:
            _all32(flat, first, 16, factor)
        else:
            _all16(flat, first, 16, factor)


@kernel
def _eights(flat: np.ndarray, scale: np.float32) -> None:
    for i in range(0, len(flat), 8):
        row = flat[i : i + 8]
        row *= scale
        a0, a1, a2, a3, a4, a5, a6, a7 = row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]
        b0, b1, b2, b3, b4, b5, b6, b7 = a0 + a4, a1 + a5, a2 + a6, a3 + a7, a0 - a4, a1 - a5, a2 - a6, a3 - a7
        c0, c1, c2, c3, c4, c5, c6, c7 = b0 + b2, b1 + b3, b0 - b2, b1 - b3, b4 + b6, b5 + b7, b4 - b6, b5 - b7
        row[0], row[1], row[2], row[3] = c0 + c1, c0 - c1, c2 + c3, c2 - c3
        row[4], row[5], row[6], row[7] = c4 + c5, c4 - c5, c6 + c7, c6 - c7
