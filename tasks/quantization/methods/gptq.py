"""GPTQ: round column by column and let the columns still in float repair the error."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.feedback import inverse_factor, prepare, sweep
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
        groups = work.shape[1] // self.group
        order = torch.argsort(gram.diagonal(), descending=True, stable=True) if self.act_order else torch.arange(work.shape[1])
        grids = {i: self._fit(columns) for i, columns in enumerate(work.split(self.group, 1))} if self.act_order else {}
        codes = torch.empty_like(work)

        def begin(start: int, columns: Tensor) -> None:
            if not self.act_order:
                grids[start // self.group] = self._fit(columns)

        def quantise(index: int, column: Tensor) -> Tensor:
            original = int(order[index])
            grid = grids[original // self.group]
            code = grid.encode(column[:, None])
            codes[:, original] = code[:, 0]
            return grid.decode(code)[:, 0]

        sweep(work[:, order], inverse_factor(gram[order][:, order], self.damping), self.group, begin, quantise)
        scale = torch.cat([grids[i].scale for i in range(groups)], 1).reshape(-1, 1)
        zero = torch.cat([grids[i].zero for i in range(groups)], 1).reshape(-1, 1)
        return affine.Grid(scale, zero, self.bits, self.symmetric).packed(codes.reshape(-1, self.group))

    def _fit(self, columns: Tensor) -> affine.Grid:
        return affine.fit(columns, self.bits, self.symmetric, self.search)
