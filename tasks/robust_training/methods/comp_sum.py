from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from kernels.robust_training.linf import Ball, input_gradient, pgd
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode, normal


def differences(logits: Tensor, labels: Tensor) -> Tensor:
    """h_y - h_j for every class j, [n, k]; the column j = y is zero."""
    return logits.gather(1, labels[:, None]) - logits


def comp_sum(gaps: Tensor, labels: Tensor, tau: float) -> Tensor:
    """Phi_tau(sum over j != y of exp(-gap_j)) per example, [n].

    Phi_tau(u) = ((1 + u)^(1 - tau) - 1) / (1 - tau), and log(1 + u) for tau = 1: the sum-exponential loss at 0, cross-entropy at 1,
    generalised cross-entropy between 1 and 2, and the mean absolute error 1 - p_y at 2.
    """
    log_u = (-gaps).scatter(1, labels[:, None], -torch.inf).logsumexp(1)
    log_one_plus_u = nn.functional.softplus(log_u)
    if tau == 1:
        return log_one_plus_u
    return torch.expm1((1 - tau) * log_one_plus_u) / (1 - tau)


class CompSum(Trainer, name="comp-sum", label="ADV-COMP-SUM", paper=17):
    """Smooth adversarial comp-sum loss (paper 17, Cross-Entropy Loss Functions: Theoretical Analysis and Applications).

    Minimises Phi_tau(sum exp(-d_j(x) / `rho`)) + `nu` max ||d(x') - d(x)|| with d_j = h_y - h_j, where PGD from x + 0.001 N(0, 1) looks for
    x' in the allowed set. The theory asks for nu >= sqrt(k - 1) / rho, which collapses to a constant classifier on small networks.
    """

    tau: float = Field(1.0, ge=0, le=2, description="which comp-sum loss: 0 sum-exponential, 1 logistic, 2 mean absolute error")
    rho: float = Field(1.0, gt=0, description="scale of the margins")
    nu: float = Field(0.3, ge=0, description="weight of the smooth adversarial term")
    steps: int = Field(10, ge=1, le=100, description="ascent steps per batch")
    step_size: float = Field(0.25, gt=0, le=2, description="length of a step, in units of epsilon")
    attack_mode: AttackMode = "eval"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            ball = Ball.around(images, problem.epsilon)
            start = ball.project(images + 0.001 * normal(images, problem.noise))  # the distance has no gradient at x itself
            with mode(model, self.attack_mode):
                with torch.no_grad():
                    here = differences(model(images), labels)
                adversarial = pgd(
                    lambda x: input_gradient(model, x, labels, lambda h, y: (differences(h, y) - here).square().sum(1)),
                    start,
                    ball,
                    self.steps,
                    self.step_size * problem.epsilon,
                )
            clean = differences(model(images), labels)
            moved = (differences(model(adversarial), labels) - clean).square().sum(1)
            distance = (moved + 1e-12).sqrt()  # the norm has no gradient at zero
            return (comp_sum(clean / self.rho, labels, self.tau) + self.nu * distance).mean()

        return fit_loss(model, problem, loss)
