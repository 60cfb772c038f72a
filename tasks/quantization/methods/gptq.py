"""GPTQ: round column by column and let the columns still in float repair the error."""

from __future__ import annotations

from math import gcd

import torch
from pydantic import Field
from torch import Tensor

from kernels.quantization.feedback import round_block
from tasks.quantization import affine
from tasks.quantization.feedback import BLOCK, inverse_factor, prepare
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed


class Gptq(affine.AffineQuantizer, name="gptq", label="GPTQ", knowledge=(CALIBRATION,)):
    """GPTQ (Frantar et al. 2022): second-order error feedback through the inverse Cholesky factor of the input Gram matrix."""

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, multiple_of=8, description="inputs per group")
    symmetric: bool = False
    act_order: bool = Field(False, description="visit inputs by falling energy; groups are then fitted before the sweep")
    damping: float = Field(0.01, gt=0, description="share of the mean diagonal added to the diagonal")
    search: bool = Field(False, description="search the scales instead of taking the range")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        work, gram = prepare(weight, inputs.gram, self.group)
        order = torch.argsort(gram.diagonal(), descending=True, stable=True) if self.act_order else torch.arange(work.shape[1])
        factor = inverse_factor(gram[order][:, order], self.damping)
        fitted = [self._fit(columns) for columns in work.split(self.group, 1)] if self.act_order else []
        scale = torch.cat([grid.scale for grid in fitted], 1) if fitted else torch.ones(len(work), work.shape[1] // self.group)
        zero = torch.cat([grid.zero for grid in fitted], 1) if fitted else torch.zeros_like(scale)
        work, codes = work[:, order], torch.empty(work.shape, dtype=torch.uint8)
        step = gcd(self.group, BLOCK)
        for start in range(0, work.shape[1], step):
            end, index = start + step, order[start : start + step] // self.group
            if not self.act_order and start % self.group == 0:
                # The group has absorbed the errors of all earlier columns: now its grid can be fitted.
                grid = self._fit(work[:, start : start + self.group])
                scale[:, index[0]], zero[:, index[0]] = grid.scale[:, 0], grid.zero[:, 0]
            segment, local = work[:, start:end].numpy(), factor[start:end, start:end].numpy()
            rounded, errors = round_block(segment, local, scale[:, index].numpy(), zero[:, index].numpy(), (1 << self.bits) - 1)
            codes[:, order[start:end]] = torch.from_numpy(rounded)
            work[:, end:].addmm_(torch.from_numpy(errors), factor[start:end, end:], alpha=-1)
        grid = affine.Grid(scale.reshape(-1, 1), zero.reshape(-1, 1), self.bits, self.symmetric)
        return grid.packed(codes.reshape(-1, self.group))

    def _fit(self, columns: Tensor) -> affine.Grid:
        return affine.fit(columns, self.bits, self.symmetric, self.search)
