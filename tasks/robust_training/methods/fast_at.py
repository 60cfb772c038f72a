from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball, fgsm, input_gradient
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode


class FastAt(Trainer, name="fast-at", label="Fast AT (RS-FGSM)"):
    """Single-step adversarial training from a random start (Wong et al., "Fast is better than free", 2020).

    The example is P(x + eta + `step_size` epsilon sign(grad J(x + eta))) with eta uniform in the allowed set, where P projects on the ball
    and the pixel box.
    """

    step_size: float = Field(1.25, gt=0, le=4, description="length of the step, in units of epsilon")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            ball = Ball.around(images, problem.epsilon)
            start = ball.uniform(problem.noise)
            with mode(model, self.attack_mode):
                gradient = input_gradient(model, start, labels)
            return functional.cross_entropy(model(fgsm(gradient, start, self.step_size * problem.epsilon, ball)), labels)

        return fit_loss(model, problem, loss)
