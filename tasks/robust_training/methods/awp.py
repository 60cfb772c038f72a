from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit, pgd_example
from tasks.robust_training.weights import Shift, frozen_statistics, gradient


class Awp(Trainer, name="awp", label="AWP"):
    """PGD training with adversarial weight perturbation (Wu et al., "Adversarial Weight Perturbation Helps Robust Generalization", 2020).

    At the PGD examples the weights take one ascent step of relative length `gamma`: w_l + gamma ||w_l|| g_l / ||g_l|| for each weight
    tensor l (biases and batch normalisation stay). The gradient there updates the original weights.
    """

    gamma: float = Field(0.01, ge=0, le=1, description="length of the weight perturbation relative to each tensor's norm")
    steps: int = Field(10, ge=1, le=100, description="ascent steps per batch, on the images")
    step_size: float = Field(0.25, gt=0, le=2, description="length of a step, in units of epsilon")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def offset(parameter: nn.Parameter) -> Tensor:
            if parameter.dim() < 2:
                return torch.zeros_like(parameter)
            ascent = gradient(parameter)
            return self.gamma * parameter.norm() / (ascent.norm() + 1e-20) * ascent

        def update(optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
            adversarial = pgd_example(model, images, labels, problem, self.steps, self.step_size, self.attack_mode)
            optimizer.zero_grad()
            with frozen_statistics(model):
                functional.cross_entropy(model(adversarial), labels).backward()
            with Shift(model, offset):
                optimizer.zero_grad()
                functional.cross_entropy(model(adversarial), labels).backward()
            optimizer.step()

        return fit(model, problem, update)
