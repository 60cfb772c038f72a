from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import fit
from tasks.robust_training.weights import Shift, frozen_statistics, gradient, gradient_norm


class Sam(Trainer, name="sam", label="SAM", paper=46):
    """SAM (paper 46, Sharpness-Aware Minimization for Efficiently Improving Generalization).

    Each update uses the gradient at w + `rho` g / ||g||, with g the gradient at w over all parameters as one vector. Clean images only:
    it flattens the loss over weights, not over pixels. Running averages of batch normalisation follow the first pass only.
    """

    rho: float = Field(0.05, ge=0, description="radius of the weight perturbation, Euclidean")

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def update(optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            scale = self.rho / (gradient_norm(model) + 1e-12)
            with Shift(model, lambda parameter: scale * gradient(parameter)), frozen_statistics(model):
                optimizer.zero_grad()
                functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

        return fit(model, problem, update)
