"""L-infinity attacks: the allowed set, one gradient step (FGSM), and projected gradient ascent (PGD).

Images are [n, d] tensors with pixels in [0, 1]. The allowed set of an image is the intersection of its L-infinity ball with the pixel box.
A *loss* here maps (logits [n, k], labels [n]) to one value per example [n] that the attacker wants to raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Ball:
    """The allowed set of a batch: pixels between `low` and `high`, both [n, d]."""

    low: Tensor
    high: Tensor

    @classmethod
    def around(cls, images: Tensor, epsilon: float) -> Ball:
        """All pixels within `epsilon` of `images` and within [0, 1]."""
        return cls((images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1))

    def project(self, images: Tensor) -> Tensor:
        """The nearest allowed point, pixel by pixel."""
        return torch.minimum(torch.maximum(images, self.low), self.high)

    def uniform(self, generator: torch.Generator) -> Tensor:
        """A point drawn uniformly from the allowed set. Draws happen on the CPU, so that every device sees the same."""
        share = torch.rand(self.low.shape, generator=generator, dtype=self.low.dtype)
        return self.low + share.to(self.low.device) * (self.high - self.low)

    def only(self, keep: Tensor) -> Ball:
        """The sets of the examples that the mask or index `keep` names."""
        return Ball(self.low[keep], self.high[keep])


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per example, [n]."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Best wrong logit minus the true one, [n]: non-negative exactly when the example is misclassified or tied.

    Unlike cross-entropy its gradient does not vanish when the network is very sure of itself.
    """
    true = logits.gather(1, labels[:, None])[:, 0]
    wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return wrong - true


def input_gradient(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss = cross_entropy) -> Tensor:
    """Gradient of the summed loss with respect to the pixels, [n, d]. Leaves the gradients of the weights alone."""
    _, gradient, _ = value_and_gradient(model, images, labels, loss)
    return gradient


def value_and_gradient(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """Loss per example [n], its gradient with respect to the pixels [n, d], and the logits [n, k]."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(images)
        values = loss(logits, labels)
        (gradient,) = torch.autograd.grad(values.sum(), images)
    return values.detach(), gradient, logits.detach()


def fgsm(gradient: Tensor, images: Tensor, epsilon: float, ball: Ball | None = None) -> Tensor:
    """x + epsilon * sign(gradient), projected on `ball` if one is given (paper 136)."""
    moved = images + epsilon * gradient.sign()
    return moved if ball is None else ball.project(moved)


def pgd(gradient: Callable[[Tensor], Tensor], start: Tensor, ball: Ball, steps: int, step_size: float) -> Tensor:
    """The last iterate of x <- project(x + step_size * sign(gradient(x)))."""
    images = start
    for _ in range(steps):
        images = ball.project(images + step_size * gradient(images).sign())
    return images


def pgd_breaks(
    model: nn.Module, start: Tensor, labels: Tensor, ball: Ball, steps: int, step_size: float, loss: Loss = cross_entropy
) -> Tensor:
    """Which examples some iterate of PGD (the start included) makes `model` misclassify: a mask [n].

    An example that fell is left out of later steps. `model` must be in evaluation mode, where examples don't influence each other.
    """
    broken = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
    active = torch.arange(len(labels), device=labels.device)
    images = start
    for step in range(steps + 1):
        _, gradient, logits = value_and_gradient(model, images, labels, loss)
        fell = logits.argmax(1) != labels
        if fell.any():
            broken[active[fell]] = True
            keep = ~fell
            active, images, gradient, labels, ball = active[keep], images[keep], gradient[keep], labels[keep], ball.only(keep)
        if step == steps or not len(active):
            break
        images = ball.project(images + step_size * gradient.sign())
    return broken
