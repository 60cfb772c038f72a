"""GPTQ: round column by column and let the columns still in float repair the error."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.protocol import CALIBRATION, Inputs, Packed

BLOCK = 128  #: columns between two lazy updates of the rest of the matrix


class Gptq(affine.AffineQuantizer, name="gptq", label="GPTQ", knowledge=(CALIBRATION,)):
    """GPTQ (Frantar et al. 2022): second-order error feedback through the inverse Cholesky factor of the input Gram matrix."""

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")
    symmetric: bool = False
    act_order: bool = Field(False, description="visit inputs by falling energy; groups are then fitted before the sweep")
    damping: float = Field(0.01, gt=0, description="share of the mean diagonal added to the diagonal")
    search: bool = Field(False, description="search the scales instead of taking the range")

    def quantize(self, weight: Tensor, inputs: Inputs | None, generator: torch.Generator) -> Packed:
        assert inputs is not None
        gram = inputs.gram.clone()
        dead = gram.diagonal() <= 0
        gram.diagonal()[dead] = 1.0
        work = weight.clone()
        work[:, dead] = 0.0
        padding = -weight.shape[1] % self.group
        if padding:
            work = torch.nn.functional.pad(work, (0, padding))
            gram = torch.block_diag(gram, torch.eye(padding, dtype=gram.dtype) * gram.diagonal().mean())
        columns = work.shape[1]
        order = torch.argsort(gram.diagonal(), descending=True, stable=True) if self.act_order else torch.arange(columns)
        factor = inverse_factor(gram[order][:, order], self.damping)
        starts = range(0, columns, self.group)
        grids = {i: self._fit(work[:, start : start + self.group]) for i, start in enumerate(starts)} if self.act_order else {}
        codes = self._sweep(work[:, order], factor, order, grids)
        scale = torch.stack([grids[i].scale[:, 0] for i in range(len(starts))], 1).reshape(-1, 1)
        zero = torch.stack([grids[i].zero[:, 0] for i in range(len(starts))], 1).reshape(-1, 1)
        return affine.Grid(scale, zero, self.bits, self.symmetric).packed(codes.reshape(-1, self.group))

    def _fit(self, columns: Tensor) -> affine.Grid:
        return affine.fit(columns, self.bits, self.symmetric, self.search)

    def _sweep(self, work: Tensor, factor: Tensor, order: Tensor, grids: dict[int, affine.Grid]) -> Tensor:
        """Codes [out, in] in the original column order. `work` is in visiting order and is overwritten; `grids` is filled in."""
        codes = torch.empty_like(work)
        columns = work.shape[1]
        for start in range(0, columns, BLOCK):
            end = min(start + BLOCK, columns)
            block = work[:, start:end]
            local = factor[start:end, start:end]
            errors = torch.zeros_like(block)
            for i in range(end - start):
                column = int(order[start + i])
                index, offset = divmod(column, self.group)
                if not self.act_order and offset == 0:
                    # The group's own columns have already absorbed errors of earlier ones, so its grid is fitted now. Columns past this
                    # block still wait for their lazy update; bring them up to date first.
                    if column + self.group > end:
                        pending = errors[:, :i] @ factor[start : start + i, end : column + self.group]
                        ahead = work[:, end : column + self.group] - pending
                        grids[index] = self._fit(torch.cat([block[:, i:], ahead], 1))
                    else:
                        grids[index] = self._fit(block[:, i : i + self.group])
                grid = grids[index]
                value = block[:, i : i + 1]
                code = grid.encode(value)
                codes[:, column] = code[:, 0]
                error = (value - grid.decode(code)) / local[i, i]
                block[:, i:] -= error * local[i, i:]
                errors[:, i] = error[:, 0]
            work[:, end:] -= errors @ factor[start:end, end:]
        return codes


def inverse_factor(gram: Tensor, damping: float) -> Tensor:
    """Upper U with U^T U = (gram + damping mean(diag) I)^-1, float32; computed in float64."""
    damped = gram.double().clone()
    damped.diagonal().add_(damping * float(damped.diagonal().mean()))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True).float()
