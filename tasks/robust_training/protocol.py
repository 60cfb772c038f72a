"""What a robust-training method gets and must give back."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tasks.api import Method


@dataclass(frozen=True, slots=True)
class Recipe:
    """The training budget and optimiser that a task prescribes, the same for every method."""

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam"]
    lr: float
    momentum: float  #: of SGD; Adam ignores it
    weight_decay: float  #: L2, added to the gradient
    schedule: Literal["constant", "cosine"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything a method may know: training data, the threat model, the recipe, and two random streams. No test data, no attack seed."""

    images: Tensor  #: [n, 64] float32, pixels in [0, 1]
    labels: Tensor  #: [n] int64; a share of them is wrong when the task says so
    epsilon: float  #: radius of the L-infinity ball, in pixel units
    recipe: Recipe
    order: torch.Generator  #: batch order, on the CPU; the same for every method with this seed
    noise: torch.Generator  #: the method's own randomness, on the CPU


class Trainer(Method, family="robust_training"):
    """Trains a network that the task has built and initialised.

    `train` may change `model` in place or return another module, but what it returns must have the same state dictionary (names, shapes and
    types) with finite values: the task loads those values into a fresh copy of the architecture and attacks that copy in evaluation mode.
    A wrapper around the network therefore changes nothing.
    """

    @abstractmethod
    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        """Train `model` on `problem` and return it. Randomness must come from `problem.order` and `problem.noise`."""
