"""Stochastic rounding: up or down at random, right on average."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.protocol import Inputs, Packed


class Stochastic(affine.AffineQuantizer, name="stochastic", label="Stochastic rounding"):
    """Rounds up with probability equal to the fractional part (Gupta et al. 2015), on the grid of round-to-nearest: unbiased, noisier."""

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        rows = affine.split(weight, "group", self.group)
        grid = affine.fit(rows, self.bits, False)
        uniform = torch.rand(rows.shape, generator=generator)
        codes = (torch.floor(rows / grid.scale + uniform) + grid.zero).clamp(0, (1 << self.bits) - 1)
        return grid.packed(codes)
