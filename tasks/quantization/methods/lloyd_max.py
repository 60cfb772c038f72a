"""Lloyd-Max: the grid with the least squared error for normal weights."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from kernels.quantization.grids import lloyd_max
from kernels.quantization.nearest import nearest
from tasks.quantization import affine
from tasks.quantization.protocol import Inputs, Packed, Part, Quantizer


class LloydMax(Quantizer, name="lloyd-max", label="Lloyd-Max"):
    """The nearest of 2^bits levels that are optimal for N(0, 1) (Max 1960; Lloyd 1982), times the root mean square of the group.

    What HIGGS with p=1 does, without the rotation that makes weights normal: the grid fits as far as they are.
    """

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per scale; bits + 16/group bits per weight")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        rows = affine.split(weight, "group", self.group)
        scale = affine.half(rows.square().mean(1, keepdim=True).sqrt())
        codes = nearest((rows / scale).reshape(-1, 1), torch.tensor(lloyd_max(1 << self.bits)).float()[:, None])
        return Packed({"codes": Part(codes.view(rows.shape), self.bits), "scales": Part(scale.half(), 16)})

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        levels = torch.tensor(lloyd_max(1 << packed.parts["codes"].bits)).float()
        return affine.join(levels[packed["codes"].long()] * packed["scales"].float(), shape)
