"""FP4: a 4-bit floating-point format with sign, two exponent bits and one mantissa bit."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import codebook
from tasks.quantization.protocol import Inputs, Packed, Part, Quantizer

#: Magnitudes by the three low bits of the code, in twelfths so that the largest is 1; the fourth bit is the sign. Pattern 1 is the
#: subnormal. As in bitsandbytes.
MAGNITUDES = (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)
VALUES = tuple(sign * magnitude / 12 for sign in (1, -1) for magnitude in MAGNITUDES)
#: Codes in ascending order of value, without negative zero.
ASCENDING = tuple(sorted((code for code in range(16) if code != 8), key=lambda code: VALUES[code]))


class Float4(Quantizer, name="fp4", label="FP4"):
    """The FP4 format of bitsandbytes: 15 distinct values scaled by the block's float32 absolute maximum."""

    block: int = Field(64, ge=8, description="weights per absolute maximum; 4 + 32/block bits per weight")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        order = torch.tensor(ASCENDING)
        packed = codebook.encode(weight, torch.tensor(VALUES)[order], self.block)
        codes = order[packed["codes"]]
        codes[(codes == 0) & (weight.reshape(-1) > 0)] = 8  # bitsandbytes writes the other zero for small positive values
        return Packed({"codes": Part(codes, 4), "scales": packed.parts["scales"]}, {"block": self.block})

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        return codebook.decode(packed, torch.tensor(VALUES), packed.meta["block"], shape)
