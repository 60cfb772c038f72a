from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import fit_loss


class Standard(Trainer, name="standard", label="Standard"):
    """Cross-entropy on clean images: the baseline without any defence."""

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        def loss(images: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(model(images), labels)

        return fit_loss(model, problem, loss)
