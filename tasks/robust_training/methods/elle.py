from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball, cross_entropy, fgsm, input_gradient
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode, uniform


def linearity_error(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
    """Mean squared deviation of the loss from linearity along random segments inside the epsilon-ball (equation 3 of paper 83), a scalar.

    With x_a, x_b = x + epsilon U[-1, 1]^d, t ~ U[0, 1] and x_c = (1 - t) x_a + t x_b: the mean of (l(x_c) - (1 - t) l(x_a) - t l(x_b))^2.
    As in the authors' code the points are not clipped to the pixel box, and all three go through the network as one batch.
    """
    a = images + uniform(images, -epsilon, epsilon, generator)
    b = images + uniform(images, -epsilon, epsilon, generator)
    t = uniform(images[:, 0], 0, 1, generator)
    c = (1 - t[:, None]) * a + t[:, None] * b
    loss_a, loss_b, loss_c = cross_entropy(model(torch.cat([a, b, c])), labels.repeat(3)).chunk(3)
    return (loss_c - (1 - t) * loss_a - t * loss_b).square().mean()


class Elle(Trainer, name="elle", label="ELLE", paper=83):
    """ELLE (paper 83, Efficient local linearity regularization to overcome catastrophic overfitting).

    Single-step adversarial training plus `weight` times the squared local linearity error of the loss, which needs no double
    backpropagation. The default weight is the authors' for CIFAR-10; their one-step attack starts at x and is not clipped to [0, 1].
    """

    weight: float = Field(1000.0, ge=0, description="weight of the linearity error (lambda)")
    clip: bool = Field(False, description="clip the adversarial example to [0, 1]")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        epsilon = problem.epsilon

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            with mode(model, self.attack_mode):
                gradient = input_gradient(model, images, labels)
            adversarial = fgsm(gradient, images, epsilon, Ball.around(images, epsilon) if self.clip else None)
            value = functional.cross_entropy(model(adversarial), labels)
            if self.weight:
                value = value + self.weight * linearity_error(model, images, labels, epsilon, problem.noise)
            return value

        return fit_loss(model, problem, loss)
