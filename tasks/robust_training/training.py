"""The training loop that methods share, so that they differ in nothing but what their papers say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from kernels.robust_training.linf import Ball, input_gradient, pgd
from tasks.robust_training.protocol import Problem, Recipe

#: Whether batch normalisation uses the batch ("train") or its running averages ("eval") while an attack looks for its point. Published
#: codes differ, and the choice changes results.
AttackMode = Literal["train", "eval"]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(model.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def learning_rate(recipe: Recipe, share: float) -> float:
    """The learning rate when `share` (0 to 1) of all updates has been done."""
    return recipe.lr if recipe.schedule == "constant" else recipe.lr * 0.5 * (1 + math.cos(math.pi * share))


def batches(problem: Problem) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (images, labels), in the order that `problem.order` draws."""
    order = torch.randperm(len(problem.labels), generator=problem.order).to(problem.labels.device)
    for index in order.split(problem.recipe.batch_size):
        yield problem.images[index], problem.labels[index]


def fit(model: nn.Module, problem: Problem, update: Callable[[torch.optim.Optimizer, Tensor, Tensor], None]) -> nn.Module:
    """Run the recipe: `update(optimizer, images, labels)` is one step on one batch; the learning rate follows the schedule."""
    recipe = problem.recipe
    optimizer = make_optimizer(model, recipe)
    updates, done = recipe.epochs * math.ceil(len(problem.labels) / recipe.batch_size), 0
    model.train()
    for _ in range(recipe.epochs):
        for images, labels in batches(problem):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, done / updates)
            update(optimizer, images, labels)
            done += 1
    return model


def fit_loss(model: nn.Module, problem: Problem, loss: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
    """`fit` where each step descends the scalar `loss(images, labels)`."""

    def update(optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        loss(images, labels).backward()
        optimizer.step()

    return fit(model, problem, update)


@contextmanager
def mode(model: nn.Module, wanted: AttackMode) -> Iterator[nn.Module]:
    """`model` in training or evaluation mode, and back in the mode it was in afterwards."""
    before = model.training
    model.train(wanted == "train")
    try:
        yield model
    finally:
        model.train(before)


def pgd_example(
    model: nn.Module, images: Tensor, labels: Tensor, problem: Problem, steps: int, step_size: float, attack_mode: AttackMode
) -> Tensor:
    """The last iterate of PGD on the cross-entropy from a uniformly random allowed point; `step_size` is in units of epsilon."""
    ball = Ball.around(images, problem.epsilon)
    start = ball.uniform(problem.noise)
    with mode(model, attack_mode):
        return pgd(lambda x: input_gradient(model, x, labels), start, ball, steps, step_size * problem.epsilon)


def uniform(like: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """U[low, high] in the shape of `like`, drawn on the CPU so that every device sees the same numbers."""
    return (low + (high - low) * torch.rand(like.shape, generator=generator, dtype=like.dtype)).to(like.device)


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, 1) in the shape of `like`, drawn on the CPU so that every device sees the same numbers."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
