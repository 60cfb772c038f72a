from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball, cross_entropy, fgsm, input_gradient
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode, uniform


def misalignment(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """1 - mean cosine between the input gradients at x and at x + epsilon U[-1, 1]^d, a scalar. The gradient at x is held constant."""
    here = input_gradient(model, images, labels)
    there = (images + uniform(images, -epsilon, epsilon, generator)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(model(there), labels).sum(), there, create_graph=True)
    return 1 - functional.cosine_similarity(here, gradient, dim=1).mean()


class GradAlign(Trainer, name="gradalign", label="GradAlign"):
    """FGSM training with gradient alignment (Andriushchenko and Flammarion, "Understanding and Improving Fast Adversarial Training", 2020).

    Adds `weight` (1 - cosine of the input gradients at x and at a random point of its ball), by double backpropagation. The default weight
    is the published one for CIFAR-10 at epsilon 8/255.
    """

    weight: float = Field(0.2, ge=0, description="weight of the misalignment (lambda)")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        epsilon = problem.epsilon

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            with mode(model, self.attack_mode):
                gradient = input_gradient(model, images, labels)
            value = functional.cross_entropy(model(fgsm(gradient, images, epsilon, Ball.around(images, epsilon))), labels)
            if self.weight:
                value = value + self.weight * misalignment(model, images, labels, epsilon, problem.noise)
            return value

        return fit_loss(model, problem, loss)
