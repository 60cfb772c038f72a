from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import fit
from tasks.robust_training.weights import Shift, frozen_statistics, gradient


class Amp(Trainer, name="amp", label="AMP", paper=57):
    """AMP (paper 57, Regularizing Neural Networks via Adversarial Model Perturbation).

    Each update uses the gradient at w + d, where d takes `steps` ascent steps of length `rate` times the gradient and is clipped to norm
    `radius` per parameter tensor. Unlike in SAM a small gradient makes a small perturbation. As in the authors' code the norm of the
    gradient of all parameters is clipped to 50 in each pass.
    """

    radius: float = Field(0.5, ge=0, description="largest norm of the perturbation of one tensor (epsilon)")
    rate: float = Field(1.0, gt=0, description="inner learning rate")
    steps: int = Field(1, ge=1, le=20, description="ascent steps per update")

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        parameters = list(model.parameters())

        def backward(images: Tensor, labels: Tensor) -> None:
            for parameter in parameters:
                parameter.grad = None
            functional.cross_entropy(model(images), labels).backward()
            nn.utils.clip_grad_norm_(parameters, 50.0)

        def update(optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
            deviation = {parameter: torch.zeros_like(parameter) for parameter in parameters}
            backward(images, labels)
            with frozen_statistics(model):
                for _ in range(self.steps):
                    for parameter in parameters:
                        moved = deviation[parameter] + self.rate * gradient(parameter)
                        deviation[parameter] = moved * (self.radius / moved.norm().clamp(min=1e-30)).clamp(max=1)
                    with Shift(model, deviation.__getitem__):
                        backward(images, labels)
            optimizer.step()

        return fit(model, problem, update)
