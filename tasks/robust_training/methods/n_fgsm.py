from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import fgsm, input_gradient
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, mode, uniform


class NFgsm(Trainer, name="n-fgsm", label="N-FGSM"):
    """Noise-FGSM (de Jorge et al., "Make Some Noise: Reliable and Efficient Single-Step Adversarial Training", 2022).

    The example is x + eta + epsilon sign(grad J(x + eta)) with eta uniform in [-`noise` epsilon, `noise` epsilon]; unlike in Fast AT it is
    not projected on the ball, so it may lie up to (1 + `noise`) epsilon away, and by default not on the pixel box either.
    """

    noise: float = Field(2.0, ge=0, le=8, description="radius of the noise, in units of epsilon")
    clip: bool = Field(False, description="clip the adversarial example to [0, 1]")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        radius = self.noise * problem.epsilon

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            start = images + uniform(images, -radius, radius, problem.noise)
            with mode(model, self.attack_mode):
                gradient = input_gradient(model, start, labels)
            adversarial = fgsm(gradient, start, problem.epsilon)
            return functional.cross_entropy(model(adversarial.clamp(0, 1) if self.clip else adversarial), labels)

        return fit_loss(model, problem, loss)
