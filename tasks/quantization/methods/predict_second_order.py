"""Second-order Taylor expansion of the loss with the exact Hessian."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tasks.quantization.gpt import Gpt, loss_of
from tasks.quantization.loss_prediction import LossPredictor


class SecondOrder(LossPredictor, name="predict-second-order", label="Second-order Taylor"):
    """g . d + d . H d / 2 at the float32 weights, by one Hessian-vector product."""

    def predict(self, model: Gpt, changes: Mapping[str, Tensor], windows: Tensor, generator: torch.Generator) -> float:
        weights = {name: layer.weight for name, layer in model.matrices().items()}
        # The fused attention kernels have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            first = torch.autograd.grad(loss_of(model, windows), list(weights.values()), create_graph=True)
            slope = torch.stack([(gradient * changes[name]).sum() for name, gradient in zip(weights, first, strict=True)]).sum()
            second = torch.autograd.grad(slope, list(weights.values()))
        curvature = sum(float((product * changes[name]).sum()) for name, product in zip(weights, second, strict=True))
        return float(slope.detach()) + curvature / 2
