"""A black-box L-infinity attack by random search over squares of pixels (Andriushchenko et al., "Square Attack", 2020).

It uses no gradients: when it breaks an example that the gradient attacks could not, the gradients were masked.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kernels.robust_training.linf import Ball, margin

#: After these shares of the budget the area of the squares is halved; the area starts at START_AREA of the image.
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
START_AREA = 0.8


def square_side(step: int, steps: int, side: int) -> int:
    """Side in pixels of the square tried at `step` of `steps`, on an image of `side` x `side`."""
    area = START_AREA / 2 ** sum(step > share * steps for share in HALVINGS)
    return max(1, min(side, round(math.sqrt(area * side * side))))


@torch.no_grad()
def square_breaks(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int, generator: torch.Generator) -> Tensor:
    """Which examples of [n, side * side] the search makes `model` misclassify: a mask [n]. `generator` lives on the CPU."""
    count, side, device = len(images), math.isqrt(images.shape[1]), images.device
    ball = Ball.around(images, epsilon)
    broken = torch.zeros(count, dtype=torch.bool, device=device)
    if not count:
        return broken

    def signs(*shape: int) -> Tensor:
        return (torch.randint(2, shape, generator=generator) * 2 - 1).to(device=device, dtype=images.dtype)

    cells = torch.arange(side, device=device)
    stripes = signs(count, 1, side).expand(count, side, side).reshape(count, -1)
    best = ball.project(images + epsilon * stripes)
    best_value = margin(model(best), labels)
    for step in range(1, steps + 1):
        size = square_side(step, steps, side)
        corner = torch.randint(side - size + 1, (count, 2), generator=generator).to(device)
        rows = (cells >= corner[:, :1]) & (cells < corner[:, :1] + size)
        columns = (cells >= corner[:, 1:]) & (cells < corner[:, 1:] + size)
        inside = (rows[:, :, None] & columns[:, None, :]).reshape(count, -1)
        candidate = ball.project(torch.where(inside, images + epsilon * signs(count, 1), best))
        value = margin(model(candidate), labels)
        better = value > best_value
        best = torch.where(better[:, None], candidate, best)
        best_value = torch.maximum(value, best_value)
    return model(best).argmax(1) != labels
