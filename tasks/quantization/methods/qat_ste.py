"""Quantization-aware training with the straight-through estimator."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.gpt import Gpt
from tasks.quantization.protocol import TRAINING, ModelQuantizer, Packed
from tasks.quantization.qat import round_through, train_quantised


class StraightThrough(ModelQuantizer, name="qat-ste", label="QAT (STE)", knowledge=(TRAINING,)):
    """Fine-tunes the float32 weights through round-to-nearest, whose grid follows the weights' range at every step."""

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")
    steps: int = Field(60, ge=1, description="steps of 16 windows")
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate, falling along a cosine")

    def quantize_model(self, model: Gpt, text: np.ndarray, generator: torch.Generator) -> dict[str, Packed]:
        weights = {name: layer.weight.detach().clone().requires_grad_(True) for name, layer in model.matrices().items()}
        top = (1 << self.bits) - 1

        def quantised(name: str) -> Tensor:
            rows = affine.split(weights[name], "group", self.group)
            grid = affine.fit(rows.detach(), self.bits, False)
            codes = (round_through(rows / grid.scale) + grid.zero).clamp(0, top)
            return affine.join(grid.decode(codes), (weights[name].shape[0], weights[name].shape[1]))

        seed = int(torch.randint(1 << 31, (1,), generator=generator))
        train_quantised(model, text, quantised, {self.rate: list(weights.values())}, self.steps, seed)
        packed = {}
        for name, weight in weights.items():
            rows = affine.split(weight.detach(), "group", self.group)
            grid = affine.fit(rows, self.bits, False)
            packed[name] = grid.packed(grid.encode(rows))
        return packed

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        return affine.AffineQuantizer.dequantize(packed, shape)
