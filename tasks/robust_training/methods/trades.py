from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball, input_gradient, pgd
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode, normal


def divergence(clean_logits: Tensor, logits: Tensor) -> Tensor:
    """KL(softmax(clean_logits) || softmax(logits)) per example, [n]."""
    clean, other = clean_logits.log_softmax(1), logits.log_softmax(1)
    return (clean.exp() * (clean - other)).sum(1)


class Trades(Trainer, name="trades", label="TRADES"):
    """TRADES (Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", 2019).

    Minimises J(x, y) + `beta` KL(p(x) || p(x')), where x' maximises that divergence by PGD from x + 0.001 N(0, 1).
    """

    beta: float = Field(6.0, ge=0, description="weight of the divergence")
    steps: int = Field(10, ge=1, le=100, description="ascent steps per batch")
    step_size: float = Field(0.25, gt=0, le=2, description="length of a step, in units of epsilon")
    attack_mode: AttackMode = "eval"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            ball = Ball.around(images, problem.epsilon)
            start = ball.project(images + 0.001 * normal(images, problem.noise))
            with mode(model, self.attack_mode):
                with torch.no_grad():
                    target = model(images)
                adversarial = pgd(
                    lambda x: input_gradient(model, x, labels, lambda logits, _: divergence(target, logits)),
                    start,
                    ball,
                    self.steps,
                    self.step_size * problem.epsilon,
                )
            logits = model(images)
            return functional.cross_entropy(logits, labels) + self.beta * divergence(logits, model(adversarial)).mean()

        return fit_loss(model, problem, loss)
