"""First-order Taylor expansion of the loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tasks.quantization.gpt import Gpt
from tasks.quantization.loss_prediction import LossPredictor, gradients


class FirstOrder(LossPredictor, name="predict-first-order", label="First-order Taylor"):
    """Gradient at the float32 weights times the change: nearly zero at a trained model, whatever the change does."""

    def predict(self, model: Gpt, changes: Mapping[str, Tensor], windows: Tensor, generator: torch.Generator) -> float:
        return sum(float((gradient * changes[name]).sum()) for name, gradient in gradients(model, windows).items())
