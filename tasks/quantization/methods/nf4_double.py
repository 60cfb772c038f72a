"""NF4 with block maxima that are quantised themselves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tasks.quantization import codebook
from tasks.quantization.methods.nf4 import LEVELS
from tasks.quantization.protocol import Inputs, Packed, Part, Quantizer

OUTER = 256  #: block maxima that share a float32 maximum


def dynamic_map() -> Tensor:
    """The 256 levels of the dynamic 8-bit format (Dettmers 2016, "8-bit Approximations for Parallelism in Deep Learning"), ascending: for
    each of seven decades the middles of 2^i equal steps from a tenth to the whole, both signs, with 0 and 1."""
    levels = [0.0, 1.0]
    for decade in range(7):
        edges = torch.linspace(0.1, 1.0, (1 << decade) + 1, dtype=torch.float32)
        middles = 10.0 ** (decade - 6) * (edges[1:] + edges[:-1]) / 2
        levels += [*middles.tolist(), *(-middles).tolist()]
    return torch.tensor(sorted(levels), dtype=torch.float32)


class DoubleNormalFloat(Quantizer, name="nf4-double", label="NF4, double"):
    """NF4 with QLoRA's double quantization (Dettmers et al. 2023), as in bitsandbytes: block maxima less their mean take 8 bits each."""

    block: int = Field(64, ge=8, description="weights per absolute maximum; 4 + 8/block + 32/(256 block) bits per weight")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        packed = codebook.encode(weight, torch.tensor(LEVELS), self.block)
        maxima = packed["scales"].flatten()
        mean = maxima.mean()
        rows = F.pad(maxima - mean, (0, -len(maxima) % OUTER)).view(-1, OUTER)
        largest = rows.abs().amax(1)
        scaled = rows / torch.where(largest > 0, largest, 1.0)[:, None]
        levels = dynamic_map()
        codes = torch.bucketize(scaled, (levels[1:] + levels[:-1]) / 2).flatten()[: len(maxima)]
        parts = {"codes": packed.parts["codes"], "maxima": Part(codes, 8), "largest": Part(largest, 32), "mean": Part(mean[None], 32)}
        return Packed(parts, {"block": self.block})

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        codes = packed["maxima"].long()
        maxima = dynamic_map()[codes] * packed["largest"].repeat_interleave(OUTER)[: len(codes)] + packed["mean"]
        once = Packed({"codes": packed.parts["codes"], "scales": Part(maxima[:, None], 32)})
        return codebook.decode(once, torch.tensor(LEVELS), packed.meta["block"], shape)
