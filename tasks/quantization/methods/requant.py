"""ReQuant: give the weights that matter their full precision back."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.byte_gpt import windows_of
from tasks.quantization.gpt import Gpt
from tasks.quantization.loss_prediction import gradients
from tasks.quantization.protocol import TRAINING, ModelQuantizer, Packed, Part


class ReQuant(ModelQuantizer, name="requant", label="ReQuant", paper=98, knowledge=(TRAINING,)):
    """Paper 98, "Identifying Sensitive Weights via Post-quantization Integral": the largest weights are kept apart and the dense rest is
    rounded to nearest; then, in `rounds` steps, the weights with the largest integrals |d_i mean grad_i F(w + t d)| along the way from the
    present weights w to the float32 ones are restored in float16, anywhere in the model.

    `select` is what ranks them; "magnitude" and "fisher" (squared gradients times d_i^2) are what the paper compares with, at the same
    number of stored bits. The paper chooses the share of outliers per layer; here it is the same for all.
    """

    bits: int = Field(3, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")
    outliers: float = Field(0.005, ge=0, le=0.1, description="share of the weights of each matrix kept apart for their size")
    restored: float = Field(0.005, gt=0, le=0.1, description="share of all weights restored afterwards")
    select: Literal["pqi", "magnitude", "fisher"] = "pqi"
    rounds: int = Field(2, ge=1, description="steps in which the weights are restored")
    intervals: int = Field(8, ge=1, description="gradients per integral")
    windows: int = Field(64, ge=1, description="windows of training text")

    def quantize_model(self, model: Gpt, text: np.ndarray, generator: torch.Generator) -> dict[str, Packed]:
        seed = int(torch.randint(1 << 31, (1,), generator=generator))
        windows = windows_of(text, model.context, self.windows, np.random.default_rng(seed))
        matrices = model.matrices()
        original = {name: layer.weight.detach().clone() for name, layer in matrices.items()}
        kept = {name: _largest(weight.abs(), round(self.outliers * weight.numel())) for name, weight in original.items()}
        grids, codes, dense = {}, {}, {}
        for name, weight in original.items():
            rows = affine.split(weight.masked_fill(kept[name], 0), "group", self.group)
            grids[name] = affine.fit(rows, self.bits, False)
            codes[name] = grids[name].encode(rows)
            dense[name] = affine.join(grids[name].decode(codes[name]), (weight.shape[0], weight.shape[1]))
        for layer in matrices.values():
            layer.weight.requires_grad_(True)
        budget = round(self.restored * sum(weight.numel() for weight in original.values()))
        for count in np.diff(np.linspace(0, budget, self.rounds + 1).round().astype(int)):
            scores = self._scores(model, original, dense, kept, windows)
            flat = torch.cat([score.masked_fill(kept[name], -1).flatten() for name, score in scores.items()])
            chosen = _largest(flat, int(count)).split([weight.numel() for weight in original.values()])
            for name, part in zip(original, chosen, strict=True):
                kept[name] |= part.view_as(kept[name])
        return {name: self._packed(original[name], kept[name], grids[name].packed(codes[name])) for name in original}

    def _scores(
        self, model: Gpt, original: dict[str, Tensor], dense: dict[str, Tensor], kept: dict[str, Tensor], windows: Tensor
    ) -> dict[str, Tensor]:
        """What ranks the weights, by matrix."""
        if self.select == "magnitude":
            return {name: weight.abs() for name, weight in original.items()}
        present = {name: torch.where(kept[name], weight, dense[name]) for name, weight in original.items()}
        change = {name: present[name] - weight for name, weight in original.items()}
        total = {name: torch.zeros_like(weight) for name, weight in original.items()}
        if self.select == "fisher":
            _install(model, original)
            for window in windows.split(1):
                for name, gradient in gradients(model, window).items():
                    total[name] += gradient.square()
            return {name: total[name] * change[name].square() for name in total}
        for k in range(self.intervals):
            _install(model, {name: weight + (k + 0.5) / self.intervals * change[name] for name, weight in original.items()})
            for name, gradient in gradients(model, windows).items():
                total[name] += gradient
        return {name: (total[name] * change[name]).abs() for name in total}

    @staticmethod
    def _packed(weight: Tensor, kept: Tensor, packed: Packed) -> Packed:
        width = max(1, (weight.shape[1] - 1).bit_length())
        rows, columns = kept.nonzero(as_tuple=True)
        values = weight[rows, columns].clamp(-affine.FLOAT16_MAX, affine.FLOAT16_MAX).half()
        counts = torch.bincount(rows, minlength=len(weight))
        sparse = {"kept": Part(values, 16), "kept_columns": Part(columns, width), "kept_counts": Part(counts, width + 1)}
        return Packed({**packed.parts, **sparse})

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        weight = affine.AffineQuantizer.dequantize(packed, shape).contiguous()
        rows = torch.arange(shape[0]).repeat_interleave(packed["kept_counts"])
        weight[rows, packed["kept_columns"]] = packed["kept"].float()
        return weight


def _largest(scores: Tensor, count: int) -> Tensor:
    """A mask of the `count` largest scores."""
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().topk(count).indices] = True
    return mask.view(scores.shape)


@torch.no_grad()
def _install(model: Gpt, weights: dict[str, Tensor]) -> None:
    for name, layer in model.matrices().items():
        layer.weight.copy_(weights[name])
