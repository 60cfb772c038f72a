"""NF4: quantiles of the normal distribution."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import codebook
from tasks.quantization.protocol import Inputs, Packed, Quantizer

#: Dettmers et al. 2023, "QLoRA", appendix E: an asymmetric normal-float table with an exact zero.
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


class NormalFloat(Quantizer, name="nf4", label="NF4"):
    """4-bit NormalFloat of QLoRA (Dettmers et al. 2023) with a float32 absolute maximum per block, as in bitsandbytes."""

    block: int = Field(64, ge=8, description="weights per absolute maximum; 4 + 32/block bits per weight")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        packed = codebook.encode(weight, torch.tensor(LEVELS), self.block)
        return Packed(packed.parts, {"block": self.block})

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        return codebook.decode(packed, torch.tensor(LEVELS), packed.meta["block"], shape)
