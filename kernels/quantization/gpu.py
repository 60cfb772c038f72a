"""Triton paths on CUDA tensors: the int4 GEMV and the Walsh-Hadamard transform. Imported only when such a tensor comes.

Floors on a GPU: one read of the codes; one read and one write of the matrix. Checked under Triton's interpreter (`TRITON_INTERPRET=1`, on
CPU tensors) only: they have never run on a GPU, and block sizes are not tuned.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Longest row that one program transforms in registers.
LONGEST = 8192


@triton.jit
def _gemv4(codes, scale, zero, even, odd, out, rows, WIDTH: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr, BYTES: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < rows
    sums = tl.zeros((ROWS, BYTES), dtype=tl.float32)
    for start in range(0, WIDTH, BYTES):
        column = start + tl.arange(0, BYTES)
        here = inside[:, None] & (column < WIDTH)[None, :]
        byte = tl.load(codes + row[:, None].to(tl.int64) * WIDTH + column[None, :], mask=here, other=0)
        group = row[:, None] * GROUPS + (column // (WIDTH // GROUPS))[None, :]
        s, z = tl.load(scale + group, mask=here, other=0.0), tl.load(zero + group, mask=here, other=0.0)
        first = tl.load(even + column, mask=column < WIDTH, other=0.0)[None, :]
        second = tl.load(odd + column, mask=column < WIDTH, other=0.0)[None, :]
        sums += s * (((byte & 15).to(tl.float32) - z) * first + ((byte >> 4).to(tl.float32) - z) * second)
    tl.store(out + row, tl.sum(sums, 1), mask=inside)


def gemv4(packed: Tensor, scale: Tensor, zero: Tensor, x: Tensor) -> Tensor:
    """[out] float32 of codes [out, in / 2] uint8 (low nibble first), scale and zero [out, groups], x [in]; groups divide in / 2."""
    rows, width = packed.shape
    even, odd = x.float().reshape(-1, 2).T.contiguous()
    out = torch.empty(rows, dtype=torch.float32, device=x.device)
    parts = packed.contiguous(), scale.float().contiguous(), zero.float().contiguous()
    size = min(512, triton.next_power_of_2(width))
    _gemv4[(triton.cdiv(rows, 4),)](*parts, even, odd, out, rows, width, scale.shape[1], ROWS=4, BYTES=size)
    return out


@triton.jit
def _hadamard(x, y, factor, N: tl.constexpr, STAGES: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    row = tl.load(x + place).to(tl.float32) * factor
    for stage in tl.static_range(STAGES):
        half: tl.constexpr = N >> (stage + 1)
        pairs = tl.permute(tl.reshape(row, (N // (2 * half), 2, half)), (0, 2, 1))
        a, b = tl.split(pairs)
        row = tl.reshape(tl.permute(tl.join(a + b, a - b), (0, 2, 1)), (N,))
    tl.store(y + place, row)


def hadamard(x: Tensor) -> Tensor:
    """Orthonormal Walsh-Hadamard transform of the last axis, a power of two up to 8192, in float32; the result has the dtype of `x`."""
    n = x.shape[-1]
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    if y.numel():
        _hadamard[(y.numel() // n,)](x.contiguous(), y, n**-0.5, N=n, STAGES=n.bit_length() - 1)
    return y
