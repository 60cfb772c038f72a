from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import fit
from tasks.robust_training.weights import Shift, frozen_statistics, gradient


class Asam(Trainer, name="asam", label="ASAM"):
    """Adaptive SAM (Kwon et al., "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning", 2021).

    Each update uses the gradient at w + `rho` T^2 g / ||T g|| with T = |w| + `eta`, so that large weights may move further.
    """

    rho: float = Field(0.5, ge=0, description="radius of the rescaled weight perturbation")
    eta: float = Field(0.01, ge=0, description="added to |w|")

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def scale(parameter: nn.Parameter) -> Tensor:
            return parameter.detach().abs() + self.eta

        def update(optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            norm = torch.stack([(scale(parameter) * gradient(parameter)).norm() for parameter in model.parameters()]).norm()
            length = self.rho / (norm + 1e-12)
            with Shift(model, lambda parameter: length * scale(parameter).square() * gradient(parameter)), frozen_statistics(model):
                optimizer.zero_grad()
                functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

        return fit(model, problem, update)
