"""Quantization-aware training with learned step sizes."""

from __future__ import annotations

import math

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization import affine
from tasks.quantization.gpt import Gpt
from tasks.quantization.protocol import TRAINING, ModelQuantizer, Packed
from tasks.quantization.qat import round_through, train_quantised


class LearnedStep(ModelQuantizer, name="qat-lsq", label="QAT (LSQ)", knowledge=(TRAINING,)):
    """LSQ (Esser et al. 2020): the scale of a symmetric grid is a parameter like the weights.

    Its gradient is weighted by 1 / sqrt(group size x largest code), as in the paper; with Adam that factor hardly matters.
    """

    bits: int = Field(4, ge=2, le=8)
    group: int = Field(128, ge=8, description="inputs per group")
    steps: int = Field(60, ge=1, description="steps of 16 windows")
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate of the weights, falling along a cosine")
    scale_rate: float = Field(0.01, gt=0, description="Adam's learning rate of the scales, as a share of the mean scale")

    def quantize_model(self, model: Gpt, text: np.ndarray, generator: torch.Generator) -> dict[str, Packed]:
        rows = {name: affine.split(layer.weight.detach(), "group", self.group).clone() for name, layer in model.matrices().items()}
        largest = (1 << (self.bits - 1)) - 1
        scales = {
            name: (2 * part.abs().mean(1, keepdim=True) / math.sqrt(largest)).clamp(min=affine.FLOAT16_TINY) for name, part in rows.items()
        }
        for tensor in (*rows.values(), *scales.values()):
            tensor.requires_grad_(True)
        shapes = {name: (layer.out_features, layer.in_features) for name, layer in model.matrices().items()}
        factor = 1 / math.sqrt(self.group * largest)

        def quantised(name: str) -> Tensor:
            # The same value as the scale, with `factor` times its gradient.
            scale = scales[name].clamp(min=affine.FLOAT16_TINY)
            scale = scale.detach() + factor * (scale - scale.detach())
            codes = round_through((rows[name] / scale).clamp(-largest - 1, largest))
            return affine.join(codes * scale, shapes[name])

        mean = float(torch.cat([scale.detach().flatten() for scale in scales.values()]).mean())
        seed = int(torch.randint(1 << 31, (1,), generator=generator))
        driven: dict[float, list[Tensor]] = {self.rate: list(rows.values())}
        driven.setdefault(self.scale_rate * mean, []).extend(scales.values())
        train_quantised(model, text, quantised, driven, self.steps, seed)
        packed = {}
        for name, part in rows.items():
            scale = affine.half(scales[name].detach())
            grid = affine.Grid(scale, torch.full_like(scale, largest + 1), self.bits, True)
            packed[name] = grid.packed(grid.encode(part.detach()))
        return packed

    @staticmethod
    def dequantize(packed: Packed, shape: tuple[int, int]) -> Tensor:
        return affine.AffineQuantizer.dequantize(packed, shape)
