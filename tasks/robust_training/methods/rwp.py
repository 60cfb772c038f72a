from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import cross_entropy
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit, pgd_example
from tasks.robust_training.weights import Shift, frozen_statistics, gradient

#: Learning rate of the proxy that accumulates the perturbation. Only its direction survives the rescaling; the path depends on it.
PROXY_RATE = 0.01


class Rwp(Trainer, name="rwp", label="RWP", paper=186):
    """RWP (paper 186, Robust Weight Perturbation for Adversarial Training).

    At the PGD examples the weights take `weight_steps` ascent steps on the loss of those examples only whose loss is below `threshold` (the
    loss stationary condition). The accumulated direction is rescaled to norm `gamma` ||w||, one ratio over all weight tensors, before each
    step and at the end. The gradient there updates the original weights. Biases and batch normalisation are not perturbed. Where every loss
    is above the threshold nothing is perturbed.
    """

    threshold: float = Field(1.7, ge=0, description="loss below which an example drives the perturbation (c_min)")
    gamma: float = Field(0.01, ge=0, le=1, description="norm of the perturbation relative to that of the weights")
    weight_steps: int = Field(10, ge=1, le=100, description="ascent steps on the weights (K2)")
    steps: int = Field(10, ge=1, le=100, description="ascent steps per batch, on the images (K1)")
    step_size: float = Field(0.25, gt=0, le=2, description="length of a step on the images, in units of epsilon")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def update(optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
            adversarial = pgd_example(model, images, labels, problem, self.steps, self.step_size, self.attack_mode)
            with frozen_statistics(model):
                offset = self.perturbation(model, adversarial, labels)
            with Shift(model, offset.__getitem__):
                optimizer.zero_grad()
                functional.cross_entropy(model(adversarial), labels).backward()
            optimizer.step()

        return fit(model, problem, update)

    def perturbation(self, model: nn.Module, images: Tensor, labels: Tensor) -> dict[nn.Parameter, Tensor]:
        """What to add to each parameter."""
        weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        size = torch.stack([weight.detach().norm() for weight in weights]).norm()
        total = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}
        offset = dict(total)
        for _ in range(self.weight_steps):
            with Shift(model, offset.__getitem__):
                model.zero_grad()
                losses = cross_entropy(model(images), labels)
                below = (losses < self.threshold).to(losses.dtype)
                (losses * below).mean().backward()  # divided by the batch size, not by the number below the threshold
            for weight in weights:
                total[weight] = total[weight] + PROXY_RATE * gradient(weight)
            length = torch.stack([total[weight].norm() for weight in weights]).norm()
            ratio = self.gamma * size / (length + 1e-20)
            offset = {parameter: ratio * direction for parameter, direction in total.items()}
        return offset
