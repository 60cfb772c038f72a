from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball, fgsm, input_gradient
from tasks.robust_training.methods.elle import linearity_error
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode


@dataclass
class AdaptiveWeight:
    """The schedule of ELLE-A: jump to `peak` when the linearity error is an outlier of its own history, decay otherwise."""

    peak: float
    decay: float
    deviations: float
    value: float = 0.0
    history: list[float] = field(default_factory=list)

    def observe(self, error: float) -> None:
        """Choose the weight of the next step; the step that measured `error` used the old one."""
        if len(self.history) > 2 and error > statistics.fmean(self.history) + self.deviations * statistics.pstdev(self.history):
            self.value = self.peak
        else:
            self.value *= self.decay
        self.history.append(error)


class ElleA(Trainer, name="elle-a", label="ELLE-A", paper=83):
    """ELLE-A (paper 83, Efficient local linearity regularization to overcome catastrophic overfitting): ELLE with an adaptive weight.

    The weight starts at 0, jumps to `peak` when the linearity error of a batch exceeds the mean of its history by `deviations` standard
    deviations, and decays by `decay` per step otherwise. Defaults are the authors' for CIFAR-10.
    """

    peak: float = Field(4000.0, gt=0, description="weight after a jump (lambda_max)")
    decay: float = Field(0.99, gt=0, lt=1, description="factor per step without a jump")
    deviations: float = Field(2.0, ge=0, description="standard deviations above the mean that trigger a jump")
    clip: bool = Field(False, description="clip the adversarial example to [0, 1]")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        epsilon = problem.epsilon
        weight = AdaptiveWeight(self.peak, self.decay, self.deviations)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            with mode(model, self.attack_mode):
                gradient = input_gradient(model, images, labels)
            adversarial = fgsm(gradient, images, epsilon, Ball.around(images, epsilon) if self.clip else None)
            error = linearity_error(model, images, labels, epsilon, problem.noise)
            value = functional.cross_entropy(model(adversarial), labels) + weight.value * error
            weight.observe(float(error.detach()))
            return value

        return fit_loss(model, problem, loss)
