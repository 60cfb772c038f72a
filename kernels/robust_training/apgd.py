"""APGD with the targeted difference-of-logits-ratio loss (Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble
of diverse parameter-free attacks", 2020): step sizes adapt to progress, and the loss does not change when the logits are rescaled."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kernels.robust_training.linf import Ball, Loss, value_and_gradient

MOMENTUM = 0.75  #: weight of the gradient step against the previous direction
PROGRESS = 0.75  #: share of steps since the last checkpoint that must raise the loss, or the step size is halved


def checkpoints(steps: int) -> list[int]:
    """Iterations at which the step size is reconsidered: 22 % of all, then gaps that shrink by 3 % down to 6 %."""
    percents = [0, 22]
    while percents[-1] < 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return sorted({math.ceil(percent * steps / 100) for percent in percents if 0 < percent <= 100})


def targeted_dlr(target: Tensor) -> Loss:
    """-(z_y - z_t) / (z_1 - (z_3 + z_4) / 2) with sorted logits z_1 >= z_2 >= ...; needs at least four classes. `target` is [n]."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        ordered = logits.sort(dim=1, descending=True).values
        scale = ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2
        gap = logits.gather(1, labels[:, None])[:, 0] - logits.gather(1, target[:, None])[:, 0]
        return -gap / (scale + 1e-12)

    return loss


def apgd(model: nn.Module, start: Tensor, labels: Tensor, ball: Ball, epsilon: float, steps: int, loss: Loss) -> tuple[Tensor, Tensor]:
    """The best point found for each example [n, d], and a mask [n] of the examples that some iterate made `model` misclassify."""
    step_size = torch.full((len(labels), 1), 2 * epsilon, dtype=start.dtype, device=start.device)
    current = previous = start
    value, gradient, logits = value_and_gradient(model, current, labels, loss)
    broken = logits.argmax(1) != labels
    best, best_value, best_gradient = current, value, gradient
    raised = torch.zeros_like(value)
    best_at_checkpoint, halved = best_value, torch.ones_like(broken)
    reconsider, last = checkpoints(steps), 0
    for step in range(1, steps + 1):
        ahead = ball.project(current + step_size * gradient.sign())
        if step > 1:
            ahead = ball.project(current + MOMENTUM * (ahead - current) + (1 - MOMENTUM) * (current - previous))
        previous, current = current, ahead
        new_value, gradient, logits = value_and_gradient(model, current, labels, loss)
        broken |= logits.argmax(1) != labels
        raised += new_value > value
        value = new_value
        better = value > best_value
        best = torch.where(better[:, None], current, best)
        best_gradient = torch.where(better[:, None], gradient, best_gradient)
        best_value = torch.maximum(value, best_value)
        if step in reconsider:
            stuck = raised < PROGRESS * (step - last)
            stalled = ~halved & (best_value <= best_at_checkpoint)
            halved = stuck | stalled
            step_size = torch.where(halved[:, None], step_size / 2, step_size)
            current = torch.where(halved[:, None], best, current)
            gradient = torch.where(halved[:, None], best_gradient, gradient)
            value = torch.where(halved, best_value, value)
            best_at_checkpoint, last = best_value, step
            raised = torch.zeros_like(value)
    return best, broken
