"""AWQ: scale the input channels that matter up before rounding."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed, Part, Quantizer

POWERS = 20  #: exponents 0, .05, ... .95 tried for the channel scales
CLIPS = 10  #: ranges 1, .95, ... .55 tried for each group


class Awq(Quantizer, name="awq", label="AWQ", knowledge=(CALIBRATION,)):
    """AWQ (Lin et al. 2023): round W diag(s) with s a power of the mean input magnitude that minimises the layer's output error.

    The paper folds 1/s into the preceding operation where there is one; here every layer stores its s in float16 (16/out bits per weight),
    because not every layer has one.
    """

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")
    clip: bool = Field(True, description="search each group's range, too")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        gram = inputs.gram.float()
        magnitude = inputs.x.abs().mean(0)
        trials = (self._scaled(weight, gram, magnitude, power / POWERS) for power in range(POWERS))
        _, scale = min(trials, key=lambda trial: trial[0])
        scaled = weight * scale
        rows = affine.split(scaled, "group", self.group)
        grid = self._clipped(rows, gram / scale[:, None] / scale, weight.shape) if self.clip else affine.fit(rows, self.bits, False)
        packed = grid.packed(grid.encode(rows))
        return Packed({**packed.parts, "channels": Part(scale.half(), 16)})

    def _scaled(self, weight: Tensor, gram: Tensor, magnitude: Tensor, power: float) -> tuple[float, Tensor]:
        """Output error and channel scales [in] (as stored) for one exponent."""
        scale = magnitude.pow(power).clamp(min=1e-4)
        scale = affine.half(scale / (scale.max() * scale.min()).sqrt())
        rows = affine.split(weight * scale, "group", self.group)
        difference = affine.join(affine.fit(rows, self.bits, False).nearest(rows), (weight.shape[0], weight.shape[1])) / scale - weight
        return float(((difference @ gram) * difference).sum()), scale

    def _clipped(self, rows: Tensor, gram: Tensor, shape: torch.Size) -> affine.Grid:
        """For each group, the range with the least output error of the group by itself."""
        size = rows.shape[1]
        groups = -(-shape[1] // size)
        padded = torch.nn.functional.pad(gram, (0, groups * size - shape[1]) * 2)
        blocks = torch.stack([padded[i : i + size, i : i + size] for i in range(0, groups * size, size)])
        largest = rows.abs().amax(1, keepdim=True)
        best: affine.Grid | None = None
        least = torch.full_like(largest, float("inf"))
        for shrink in range(CLIPS):
            limit = largest * (1 - shrink / 20)
            clipped = rows.clamp(-limit, limit)
            grid = affine.fit(clipped, self.bits, False)
            difference = (grid.nearest(rows) - rows).view(shape[0], groups, size)
            error = (torch.einsum("ogi,gij->ogj", difference, blocks) * difference).sum(2).view(-1, 1)
            better = error < least
            least = torch.where(better, error, least)
            if best is None:
                best = grid
            else:
                scale, zero = torch.where(better, grid.scale, best.scale), torch.where(better, grid.zero, best.zero)
                best = affine.Grid(scale, zero, self.bits, False)
        assert best is not None
        return best

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        return affine.AffineQuantizer.dequantize(packed, shape) / packed["channels"].float()
