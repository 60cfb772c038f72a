"""The task's own attacks: what a trained network is measured by, however it was trained.

An example counts as robust only if no iterate of any attack makes the network misclassify it. Attacks run one after the other, each on the
examples that all earlier ones left standing, except the two that are reported by themselves (FGSM and PGD-20).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kernels.robust_training.apgd import apgd, targeted_dlr
from kernels.robust_training.linf import Ball, Loss, cross_entropy, fgsm, input_gradient, margin, pgd_breaks
from kernels.robust_training.square import square_breaks

RESTARTS = 5  #: random starts of PGD-50
TARGETS = 3  #: classes that targeted APGD tries, the most likely wrong ones first; on digits all nine break nothing more
APGD_STEPS = 50
SQUARE_STEPS = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accuracies as fractions of the test set, and how many examples fell to each attack of the suite first."""

    clean: float
    fgsm: float
    pgd20: float
    pgd50: float
    robust: float
    first_broken: dict[str, int]


def standing(broken: Tensor) -> float:
    """The share of examples that are not broken."""
    return float((~broken).double().mean())


@torch.no_grad()
def predictions(model: nn.Module, images: Tensor) -> Tensor:
    return model(images).argmax(1)


def attack(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, generator: torch.Generator) -> Verdict:
    """Attack `model` (in evaluation mode) on `images` [n, 64] with the L-infinity radius `epsilon`. `generator` lives on the CPU."""
    ball = Ball.around(images, epsilon)
    wrong = predictions(model, images) != labels
    by_fgsm = predictions(model, fgsm(input_gradient(model, images, labels), images, epsilon, ball)) != labels
    by_pgd20 = pgd_breaks(model, ball.uniform(generator), labels, ball, 20, 2.5 * epsilon / 20)

    first_broken: dict[str, int] = {}
    broken = torch.zeros_like(wrong)

    def record(name: str, fell: Tensor) -> None:
        first_broken[name] = first_broken.get(name, 0) + int((fell & ~broken).sum())
        broken.logical_or_(fell)

    def survivors(name: str, run: Callable[[Tensor, Tensor, Tensor, Ball], Tensor]) -> None:
        start, left = ball.uniform(generator), ~broken  # starts are drawn for all: the same for every method under test
        fell = torch.zeros_like(broken)
        if left.any():
            fell[left] = run(start[left], images[left], labels[left], ball.only(left))
        record(name, fell)

    def pgd50(loss: Loss) -> Callable[[Tensor, Tensor, Tensor, Ball], Tensor]:
        return lambda start, _, labels, ball: pgd_breaks(model, start, labels, ball, 50, epsilon / 10, loss)

    def apgd_targeted(rank: int) -> Callable[[Tensor, Tensor, Tensor, Ball], Tensor]:
        def run(start: Tensor, images: Tensor, labels: Tensor, ball: Ball) -> Tensor:
            with torch.no_grad():
                likely = model(images).scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
            return apgd(model, start, labels, ball, epsilon, APGD_STEPS, targeted_dlr(likely[:, rank]))[1]

        return run

    def square(_: Tensor, images: Tensor, labels: Tensor, ball: Ball) -> Tensor:
        return square_breaks(model, images, labels, epsilon, SQUARE_STEPS, generator)

    record("clean", wrong)
    record("fgsm", by_fgsm)
    record("pgd20", by_pgd20)
    for _ in range(RESTARTS):
        survivors("pgd50", pgd50(cross_entropy))
    after_pgd50 = standing(broken)
    survivors("pgd50-margin", pgd50(margin))
    for rank in range(TARGETS):
        survivors("apgd-targeted", apgd_targeted(rank))
    survivors("square", square)
    return Verdict(
        clean=standing(wrong),
        fgsm=standing(wrong | by_fgsm),
        pgd20=standing(wrong | by_pgd20),
        pgd50=after_pgd50,
        robust=standing(broken),
        first_broken=first_broken,
    )
