"""Post-quantization integral: integrate the gradient along the way to the quantised weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from tasks.quantization.gpt import Gpt
from tasks.quantization.loss_prediction import LossPredictor, gradients


class PostQuantizationIntegral(LossPredictor, name="predict-pqi", label="PQI", paper=98):
    """Paper 98, "Identifying Sensitive Weights via Post-quantization Integral": the increase equals the integral over t in 0..1 of
    grad F(w + t d) . d, here by the midpoint rule with `intervals` gradients of all matrices together."""

    intervals: int = Field(32, ge=1, le=256)

    def predict(self, model: Gpt, changes: Mapping[str, Tensor], windows: Tensor, generator: torch.Generator) -> float:
        matrices = model.matrices()
        start = {name: layer.weight.detach().clone() for name, layer in matrices.items()}
        total = 0.0
        for k in range(self.intervals):
            with torch.no_grad():
                for name, layer in matrices.items():
                    layer.weight.copy_(start[name] + (k + 0.5) / self.intervals * changes[name])
            total += sum(float((gradient * changes[name]).sum()) for name, gradient in gradients(model, windows).items())
        return total / self.intervals
