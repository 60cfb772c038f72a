from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball, fgsm, input_gradient
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode


class Fgsm(Trainer, name="fgsm", label="FGSM-AT", paper=136):
    """Adversarial training with the fast gradient sign method (paper 136, Explaining and Harnessing Adversarial Examples).

    Minimises `clean` J(x, y) + (1 - `clean`) J(x', y) with x' = x + epsilon sign(grad_x J(x, y)), clipped to [0, 1]. The paper uses
    one half.
    """

    clean: float = Field(0.5, ge=0, le=1, description="weight of the clean loss; 0 trains on adversarial examples only")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            with mode(model, self.attack_mode):
                gradient = input_gradient(model, images, labels)
            adversarial = fgsm(gradient, images, problem.epsilon, Ball.around(images, problem.epsilon))
            value = (1 - self.clean) * functional.cross_entropy(model(adversarial), labels)
            if self.clean:
                value = value + self.clean * functional.cross_entropy(model(images), labels)
            return value

        return fit_loss(model, problem, loss)
