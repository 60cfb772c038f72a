"""OBQ: quantise the weight that hurts least next, and update all others exactly."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed

ROWS = 16  #: outputs that are solved together; each holds its own in x in inverse


class Obq(affine.AffineQuantizer, name="obq", label="OBQ", knowledge=(CALIBRATION,)):
    """Optimal Brain Quantization (Frantar & Alistarh 2022): GPTQ's ancestor with a greedy order per output, O(out in^3): small layers."""

    largest_inputs: ClassVar[int | None] = 512

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")
    damping: float = Field(0.01, gt=0, description="share of the mean diagonal added to the diagonal")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        gram = inputs.gram.clone()
        gram.diagonal()[gram.diagonal() <= 0] = 1.0
        gram.diagonal().add_(self.damping * float(gram.diagonal().mean()))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram)).float()
        rows = affine.split(weight, "group", self.group)
        grid = affine.fit(rows, self.bits, False)
        per_weight = [affine.join(part.expand_as(rows), (weight.shape[0], weight.shape[1])) for part in (grid.scale, grid.zero)]
        scale, zero = per_weight
        parts = zip(weight.split(ROWS), scale.split(ROWS), zero.split(ROWS), strict=True)
        solved = [self._solve(*part, inverse) for part in parts]
        return grid.packed(grid.encode(affine.split(torch.cat(solved), "group", self.group)))

    def _solve(self, weight: Tensor, scale: Tensor, zero: Tensor, inverse: Tensor) -> Tensor:
        """Quantised values [rows, in] of some outputs."""
        work, index = weight.clone(), torch.arange(len(weight))
        inverse = inverse.expand(len(weight), -1, -1).clone()
        open_ = torch.ones_like(work, dtype=torch.bool)
        top = (1 << self.bits) - 1
        for _ in range(work.shape[1]):
            rebuilt = ((work / scale).round() + zero).clamp(0, top).sub(zero) * scale
            diagonal = inverse.diagonal(dim1=1, dim2=2)
            cost = torch.where(open_, (work - rebuilt).square() / diagonal, float("inf"))
            # A weight pushed off the grid's end only gets worse: take it at once, as the reference does.
            far = open_ & ((work - rebuilt).abs() > scale / 2 * 1.001)
            cost = torch.where(far, -(work - rebuilt).abs() / scale, cost)
            chosen = cost.argmin(1)
            column = inverse[index, chosen]  # [rows, in]; zero at weights already fixed
            pivot = column[index, chosen]
            target = rebuilt[index, chosen]
            work -= ((work[index, chosen] - target) / pivot)[:, None] * column
            work[index, chosen] = target
            open_[index, chosen] = False
            inverse -= column[:, :, None] * column[:, None, :] / pivot[:, None, None]
            inverse[index, chosen] = 0
            inverse[index, :, chosen] = 0
            inverse[index, chosen, chosen] = 1  # keeps the diagonal positive; `open_` masks it
        return work
