"""Diagonal Fisher information as a stand-in for the Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.quantization.gpt import Gpt
from tasks.quantization.loss_prediction import LossPredictor, gradients


class Fisher(LossPredictor, name="predict-fisher", label="Diagonal Fisher"):
    """sum_i F_i d_i^2 / 2 with the empirical Fisher of window gradients, as sensitivity papers use it, or with sampled labels per position.

    The gradient of a window's *mean* loss averages its positions' scores before they are squared, which divides the information of one
    position by about the length of the window: `average="window"` underestimates by that factor, `"position"` does not.
    """

    average: Literal["window", "position"] = "window"

    def predict(self, model: Gpt, changes: Mapping[str, Tensor], windows: Tensor, generator: torch.Generator) -> float:
        total = 0.0
        for window in windows.split(1):
            if self.average == "window":
                found = gradients(model, window)
                total += sum(float((gradient * changes[name]).square().sum()) for name, gradient in found.items()) / len(windows)
                continue
            logits = model(window[:, :-1]).flatten(0, 1)
            labels = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)[:, 0]
            matrices = model.matrices()
            # Scores of sampled labels are independent with mean zero: the square of their sum is the sum of their squares on average.
            loss = F.cross_entropy(logits, labels, reduction="sum")
            scores = torch.autograd.grad(loss, [layer.weight for layer in matrices.values()])
            positions = windows.shape[0] * (windows.shape[1] - 1)
            total += sum(float((score * changes[name]).square().sum()) for name, score in zip(matrices, scores, strict=True)) / positions
        return total / 2
