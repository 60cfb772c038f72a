"""Perturbing the weights of a network for one gradient, and measuring it: shared by SAM, ASAM, AMP, AWP and RWP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def gradient(parameter: nn.Parameter) -> Tensor:
    """The gradient that the last backward pass left, zeros if it left none."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def gradient_norm(model: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of `model` as one vector."""
    return torch.stack([gradient(parameter).norm() for parameter in model.parameters()]).norm()


class Shift:
    """A context in which `offset(parameter)` is added to each parameter; leaving it restores the exact old values, not sums."""

    def __init__(self, model: nn.Module, offset: Callable[[nn.Parameter], Tensor]) -> None:
        self.model, self.offset = model, offset

    @torch.no_grad()
    def __enter__(self) -> None:
        self.before = [parameter.clone() for parameter in self.model.parameters()]
        for parameter in self.model.parameters():
            parameter.add_(self.offset(parameter))

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        for parameter, before in zip(self.model.parameters(), self.before, strict=True):
            parameter.copy_(before)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch normalisation keeps using batch statistics, but its running averages stay as they are."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [module.momentum for module in norms]
    for module in norms:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in zip(norms, before, strict=True):
            module.momentum = momentum
