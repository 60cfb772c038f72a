"""Mixed precision training: half-precision arithmetic, float32 master weights, loss scaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tasks.quantization.training import MOMENTUM, Arithmetic, TrainingNumerics

GROWTH, BACKOFF = 2.0, 0.5  #: of a dynamic loss scale


class HalfLinear(torch.autograd.Function):
    """x W^T + b on half-precision tensors: products are summed in float32, every result is rounded to the type of its inputs."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        return F.linear(x.float(), weight.float(), bias.float()).to(x.dtype)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = context.saved_tensors
        gradient = gradients[0].float()
        return (gradient @ weight.float()).to(x.dtype), (gradient.T @ x.float()).to(x.dtype), gradient.sum(0).to(x.dtype)


class HalfArithmetic(Arithmetic):
    """Forward and backward in half precision; the loss scale is in `scale`."""

    def __init__(self, parameters: Sequence[Tensor], method: HalfPrecision) -> None:
        self.type = torch.float16 if method.dtype == "float16" else torch.bfloat16
        super().__init__([parameter if method.master else parameter.to(self.type) for parameter in parameters])
        self.dynamic, self.interval, self.good = method.loss_scale == "dynamic", method.interval, 0
        self.scale = 1.0 if method.loss_scale == "none" else method.scale

    def weights(self) -> list[Tensor]:
        return [parameter.detach().to(self.type).requires_grad_(True) for parameter in self.parameters]

    def inputs(self, x: Tensor) -> Tensor:
        return x.to(self.type)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return HalfLinear.apply(x, weight, bias)

    def gradients(self, loss: Tensor, weights: list[Tensor]) -> list[Tensor]:
        found = [gradient.float() / self.scale for gradient in torch.autograd.grad(loss * self.scale, weights)]
        if self.dynamic:
            finite = all(bool(torch.isfinite(gradient).all()) for gradient in found)
            self.good = self.good + 1 if finite else 0
            if not finite:
                self.scale *= BACKOFF
            elif self.good == self.interval:
                self.scale, self.good = self.scale * GROWTH, 0
        return found

    def update(self, gradients: list[Tensor], rate: float) -> None:
        for parameter, velocity, gradient in zip(self.parameters, self.velocities, gradients, strict=True):
            velocity.mul_(MOMENTUM).add_(gradient.to(velocity.dtype))
            parameter.sub_((rate * velocity.float()).to(parameter.dtype))


class HalfPrecision(TrainingNumerics, name="train-half", label="Half precision", paper=32):
    """Paper 32, "Mixed Precision Training": weights, activations and gradients in half precision, a float32 master copy that takes the
    updates, the loss scaled up before the backward pass and gradients scaled down after it; steps that overflow are skipped.

    Half precision is emulated where the machine has none: every result is rounded, sums run in float32. Without the master copy, momentum
    is in half precision, too.
    """

    dtype: Literal["float16", "bfloat16"] = "float16"
    master: bool = Field(True, description="keep a float32 copy of the weights")
    loss_scale: Literal["none", "static", "dynamic"] = "dynamic"
    scale: float = Field(65536.0, gt=0, description="the loss scale (at the start, where it is dynamic)")
    interval: int = Field(2000, ge=1, description="steps without overflow before a dynamic scale doubles")

    def start(self, parameters: Sequence[Tensor], generator: torch.Generator) -> Arithmetic:
        return HalfArithmetic(parameters, self)
