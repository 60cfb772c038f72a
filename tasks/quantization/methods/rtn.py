"""Round to nearest: the baseline every quantizer must beat."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.protocol import Inputs, Packed


class Rtn(affine.AffineQuantizer, name="rtn", label="RTN"):
    """Every weight to the nearest point of a uniform grid per tensor, row or group; scales from the range or from a search."""

    bits: int = Field(4, ge=2, le=8)
    per: affine.Granularity = Field("group", description="what shares a scale")
    group: int = Field(128, ge=8, description="inputs per group (per='group')")
    symmetric: bool = False
    scales: Literal["range", "search"] = Field("range", description="search: 80 shrinks of the range, least |error|^2.4")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        rows = affine.split(weight, self.per, self.group)
        grid = affine.fit(rows, self.bits, self.symmetric, self.scales == "search")
        return grid.packed(grid.encode(rows))
