from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import AttackMode, fit_loss, pgd_example


class PgdAt(Trainer, name="pgd-at", label="PGD-AT"):
    """Adversarial training with projected gradient ascent.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018. Each batch is replaced
    by the last iterate of PGD from a uniformly random allowed point.
    """

    steps: int = Field(10, ge=1, le=100, description="ascent steps per batch")
    step_size: float = Field(0.25, gt=0, le=2, description="length of a step, in units of epsilon")
    attack_mode: AttackMode = "train"

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            adversarial = pgd_example(model, images, labels, problem, self.steps, self.step_size, self.attack_mode)
            return functional.cross_entropy(model(adversarial), labels)

        return fit_loss(model, problem, loss)
