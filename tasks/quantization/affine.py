"""Uniform grids shared by the rounding methods: codes, float16 scales and integer zero points over groups of weights.

The scale is rounded to float16 before any code is computed, so that codes are decided with the scale that is stored.
Ties round half to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.quantization.protocol import Packed, Part, Quantizer

Granularity = Literal["tensor", "channel", "group"]

FLOAT16_MAX, FLOAT16_TINY = 65504.0, 2.0**-24


def half(scale: Tensor) -> Tensor:
    """A positive scale rounded to float16 and kept away from zero and infinity; returned as float32."""
    return scale.clamp(FLOAT16_TINY, FLOAT16_MAX).half().float()


def split(weight: Tensor, per: Granularity, group: int) -> Tensor:
    """[out, in] cut into rows that share a scale, [rows, size]; each row of the matrix is padded with zeros to whole groups.

    A group that is longer than a row is the row.
    """
    if per == "tensor":
        return weight.reshape(1, -1)
    if per == "channel":
        return weight
    group = min(group, weight.shape[1])
    return F.pad(weight, (0, -weight.shape[1] % group)).reshape(-1, group)


def join(rows: Tensor, shape: tuple[int, int]) -> Tensor:
    """Inverse of `split`: drops the padding."""
    return rows.reshape(shape[0], -1)[:, : shape[1]]


@dataclass(frozen=True, slots=True)
class Grid:
    """w ~ scale (q - zero) with q in 0..levels-1; `scale` and `zero` are [rows, 1] float32, `zero` integral."""

    scale: Tensor
    zero: Tensor
    bits: int
    symmetric: bool

    def encode(self, rows: Tensor) -> Tensor:
        """Codes of [rows, n], float32 holding integers."""
        return (torch.round(rows / self.scale) + self.zero).clamp_(0, (1 << self.bits) - 1)

    def decode(self, codes: Tensor) -> Tensor:
        return self.scale * (codes - self.zero)

    def nearest(self, rows: Tensor) -> Tensor:
        """The grid's closest values, in the dtype of `rows`."""
        return self.decode(self.encode(rows))

    def packed(self, codes: Tensor) -> Packed:
        """Codes [rows, n] with this grid's parameters; the zero point of a symmetric grid is the middle code and costs nothing."""
        parts = {"codes": Part(codes.to(torch.int32), self.bits), "scales": Part(self.scale.half(), 16)}
        if not self.symmetric:
            parts["zeros"] = Part(self.zero.to(torch.int32), self.bits)
        return Packed(parts)


def fit(rows: Tensor, bits: int, symmetric: bool, search: bool = False) -> Grid:
    """A grid for each of [rows, n].

    Asymmetric: from min(0, min) to max(0, max). Symmetric: max |w| is the largest positive code; 0 is a code in both.
    `search` shrinks the range by up to 80 % in steps of 1 % and keeps the least sum of |error|^2.4, as GPTQ's reference does.
    """
    low, high = rows.amin(1, keepdim=True).clamp(max=0), rows.amax(1, keepdim=True).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
    best = _grid(low, high, bits, symmetric)
    if not search:
        return best
    error = (best.nearest(rows) - rows).abs().pow(2.4).sum(1, keepdim=True)
    scale, zero = best.scale.clone(), best.zero.clone()
    for shrink in range(1, 80):
        factor = 1 - shrink / 100
        grid = _grid(low * factor, high * factor, bits, symmetric)
        trial = (grid.nearest(rows) - rows).abs().pow(2.4).sum(1, keepdim=True)
        better = trial < error
        error = torch.where(better, trial, error)
        scale, zero = torch.where(better, grid.scale, scale), torch.where(better, grid.zero, zero)
    return Grid(scale, zero, bits, symmetric)


def _grid(low: Tensor, high: Tensor, bits: int, symmetric: bool) -> Grid:
    if symmetric:
        scale = half(high / ((1 << (bits - 1)) - 1))
        return Grid(scale, torch.full_like(scale, 1 << (bits - 1)), bits, True)
    levels = (1 << bits) - 1
    scale = half((high - low) / levels)
    return Grid(scale, torch.round(-low / scale).clamp_(0, levels), bits, False)


class AffineQuantizer(Quantizer):
    """A quantizer that hands back what `Grid.packed` made."""

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        codes, bits = packed["codes"].float(), packed.parts["codes"].bits
        zero = packed["zeros"].float() if "zeros" in packed else float(1 << (bits - 1))
        return join(packed["scales"].float() * (codes - zero), shape)
