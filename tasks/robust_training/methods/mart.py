from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from tasks.robust_training.methods.trades import divergence
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, pgd_example


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y - log(1 - max_{j != y} p_j) per example, [n]."""
    log_p = logits.log_softmax(1)
    true = log_p.gather(1, labels[:, None])[:, 0]
    wrong = log_p.scatter(1, labels[:, None], -torch.inf).amax(1).exp()
    return -true - torch.log1p(-wrong.clamp(max=1 - 1e-6))  # a float32 probability of one would make the loss infinite


class Mart(Trainer, name="mart", label="MART"):
    """MART (Wang et al., "Improving Adversarial Robustness Requires Revisiting Misclassified Examples", 2020).

    Minimises the boosted cross-entropy at the PGD point plus `weight` KL(p(x) || p(x')) (1 - p_y(x)): the divergence counts most on
    examples that the network gets wrong.
    """

    weight: float = Field(5.0, ge=0, description="weight of the divergence (lambda)")
    steps: int = Field(10, ge=1, le=100, description="ascent steps per batch")
    step_size: float = Field(0.25, gt=0, le=2, description="length of a step, in units of epsilon")
    attack_mode: AttackMode = "eval"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            adversarial = pgd_example(model, images, labels, problem, self.steps, self.step_size, self.attack_mode)
            clean, robust = model(images), model(adversarial)
            unsure = 1 - clean.softmax(1).gather(1, labels[:, None])[:, 0]
            return (boosted_cross_entropy(robust, labels) + self.weight * divergence(clean, robust) * unsure).mean()

        return fit_loss(model, problem, loss)
