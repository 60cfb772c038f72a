"""HIGGS: rotate to a normal distribution, then use the grid that is optimal for it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from kernels.quantization.dequantize import lookup
from kernels.quantization.grids import gaussian_grid
from kernels.quantization.hadamard import hadamard
from kernels.quantization.nearest import nearest
from tasks.quantization.affine import half
from tasks.quantization.protocol import Inputs, Packed, Part, Quantizer


class Higgs(Quantizer, name="higgs", label="HIGGS", paper=6):
    """Paper 6, "Pushing the Limits of Large Language Model Quantization via the Linearity Theorem": data-free.

    Each group of inputs gets random signs and a Walsh-Hadamard transform, which makes its entries nearly normal; they are divided by their
    root mean square (stored in float16) and every `p` of them take the nearest point of the MSE-optimal Gaussian grid of 2^(bits p) points.
    """

    bits: int = Field(4, ge=2, le=8)
    p: Literal[1, 2] = Field(2, description="weights per grid point; p = 2 for 2 to 4 bits")
    group: Literal[16, 32, 64, 128, 256, 512, 1024] = Field(
        128, description="inputs per rotation and scale; bits + 16/group bits per weight"
    )

    def infeasible(self) -> str | None:
        if self.p == 2 and self.bits > 4:
            return f"HIGGS with p=2 has grids for 2 to 4 bits, not {self.bits}; use p=1."
        return None

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        seed = torch.randint(1 << 31, (1,), generator=generator)
        groups = F.pad(weight, (0, -weight.shape[1] % self.group)).reshape(-1, self.group)
        rotated = hadamard(groups * signs(seed, self.group))
        scale = half(rotated.square().mean(1, keepdim=True).sqrt())
        grid = torch.tensor(gaussian_grid(self.p, 1 << (self.bits * self.p)))
        codes = nearest((rotated / scale).reshape(-1, self.p), grid)
        return Packed(
            {"codes": Part(codes, self.bits * self.p), "scales": Part(scale.half(), 16), "seed": Part(seed, 31)},
            {"p": self.p},
        )

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        scale = packed["scales"].float()
        grid = gaussian_grid(packed.meta["p"], 1 << packed.parts["codes"].bits)
        rotated = torch.from_numpy(lookup(packed["codes"].to(torch.uint8).numpy(), grid)).reshape(len(scale), -1) * scale
        groups = hadamard(rotated) * signs(packed["seed"], rotated.shape[1])
        return groups.reshape(shape[0], -1)[:, : shape[1]]


def signs(seed: Tensor, n: int) -> Tensor:
    """n random signs, float32, from a stored seed."""
    generator = torch.Generator().manual_seed(int(seed))
    return torch.randint(0, 2, (n,), generator=generator).float() * 2 - 1
