"""AdaRound: learn for each weight whether to round it up or down."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed

#: The rectified sigmoid stretches to [-0.1, 1.1], so that 0 and 1 are reached at finite logits.
STRETCH_LOW, STRETCH_HIGH = -0.1, 1.1
WARM = 0.2  #: share of the iterations without the regulariser
BETA_HIGH, BETA_LOW = 20.0, 2.0  #: the regulariser's exponent falls along a cosine: free at first, binary at the end


class AdaRound(affine.AffineQuantizer, name="adaround", label="AdaRound", paper=65, knowledge=(CALIBRATION,)):
    """Paper 65, "Up or Down? Adaptive Rounding for Post-Training Quantization".

    On round-to-nearest's own grid, a continuous rounding variable per weight minimises the layer's output error plus a regulariser that
    drives it to 0 or 1. For a linear layer the output error is tr(D G D^T) with the inputs' Gram matrix G, so no minibatches are needed.
    The error is measured in that of rounding to nearest, per weight, so that `regularisation` means the same on every layer: at 1 a weight
    gains as much from becoming binary as nearest rounding of it costs.
    """

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")
    iterations: int = Field(500, ge=1)
    rate: float = Field(0.01, gt=0, description="Adam's learning rate")
    regularisation: float = Field(10.0, ge=0)

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        rows = affine.split(weight, "group", self.group)
        grid = affine.fit(rows, self.bits, False)
        gram = inputs.gram.float()
        nearest = grid.encode(rows)
        base = self._errors(grid.decode(nearest), weight, gram)
        floor = torch.floor(rows / grid.scale)
        logits = self._learn(rows, floor, grid, weight, gram * (weight.shape[1] / base.mean().clamp(min=1e-30)))
        learned = (floor + (logits >= 0) + grid.zero).clamp(0, (1 << self.bits) - 1)
        # Rows are independent problems: where learning did not help, nearest rounding stays.
        worse = self._errors(grid.decode(learned), weight, gram) > base
        keep = worse.repeat_interleave(rows.numel() // rows.shape[1] // weight.shape[0])[:, None]
        return grid.packed(torch.where(keep, nearest, learned))

    @staticmethod
    def _errors(rebuilt: Tensor, weight: Tensor, gram: Tensor) -> Tensor:
        """Output error of each output, [out]."""
        difference = affine.join(rebuilt, (weight.shape[0], weight.shape[1])) - weight
        return ((difference @ gram) * difference).sum(1)

    def _learn(self, rows: Tensor, floor: Tensor, grid: affine.Grid, weight: Tensor, gram: Tensor) -> Tensor:
        """Logits of rounding up, in the layout of `rows`, learned by Adam from a start that reproduces the weights."""
        fraction = (rows / grid.scale - floor).clamp(0, 1)
        logits = -torch.log((STRETCH_HIGH - STRETCH_LOW) / (fraction - STRETCH_LOW) - 1)
        logits = logits.requires_grad_(True)
        adam = torch.optim.Adam([logits], lr=self.rate)
        warm = int(WARM * self.iterations)
        top = (1 << self.bits) - 1
        with torch.enable_grad():
            for step in range(self.iterations):
                share = (torch.sigmoid(logits) * (STRETCH_HIGH - STRETCH_LOW) + STRETCH_LOW).clamp(0, 1)
                codes = (floor + share + grid.zero).clamp(0, top)
                loss = self._errors(grid.decode(codes), weight, gram).sum()
                if step >= warm:
                    progress = (step - warm) / max(1, self.iterations - warm)
                    beta = BETA_LOW + 0.5 * (BETA_HIGH - BETA_LOW) * (1 + math.cos(math.pi * progress))
                    loss = loss + self.regularisation * (1 - (2 * share - 1).abs().pow(beta)).sum()
                adam.zero_grad()
                loss.backward()
                adam.step()
        return logits.detach()
