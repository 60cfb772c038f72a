"""HQQ: half-quadratic search for the zero points, no data."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.protocol import Inputs, Packed, Part, Quantizer

#: Badri & Shaji 2023, "Half-Quadratic Quantization": lp norm of the error prior, its weight, and the weight's growth per iteration.
NORM, BETA, GROWTH = 0.7, 10.0, 1.01
#: The inverse scale is capped so that a constant group does not overflow float16.
LARGEST_INVERSE = 2e4


class HalfQuadratic(Quantizer, name="hqq", label="HQQ"):
    """Half-Quadratic Quantization (Badri & Shaji 2023): the range fixes the scale, an lp-sparse error model fixes real-valued zeros."""

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(64, ge=8, description="inputs per group; bits + 32/group bits per weight")
    iterations: int = Field(20, ge=0)

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        rows = affine.split(weight, "group", self.group)
        levels = (1 << self.bits) - 1
        low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
        inverse = (levels / (high - low)).clamp(max=LARGEST_INVERSE)
        zero = -low * inverse
        zero = self._solve(rows, inverse, zero, levels)
        scale, zero = affine.half(1 / inverse), zero.clamp(-affine.FLOAT16_MAX, affine.FLOAT16_MAX).half().float()
        codes = (rows / scale + zero).round().clamp(0, levels)
        return Packed({"codes": Part(codes.to(torch.int32), self.bits), "scales": Part(scale.half(), 16), "zeros": Part(zero.half(), 16)})

    def _solve(self, rows: Tensor, inverse: Tensor, zero: Tensor, levels: int) -> Tensor:
        """Alternate between the sparse error (generalised soft threshold) and the zero that centres what is left."""
        beta, best = BETA, float("inf")
        for _ in range(self.iterations):
            codes = (rows * inverse + zero).round().clamp(0, levels)
            rebuilt = (codes - zero) / inverse
            error = rows - rebuilt
            mean = float(error.abs().mean())
            if mean >= best:
                break
            best = mean
            shrunk = error.sign() * (error.abs() - error.abs().clamp(min=1e-12).pow(NORM - 1) / beta).clamp(min=0)
            zero = (codes - (rows - shrunk) * inverse).mean(1, keepdim=True)
            beta *= GROWTH
        return zero

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        return affine.join(packed["scales"].float() * (packed["codes"].float() - packed["zeros"].float()), shape)
