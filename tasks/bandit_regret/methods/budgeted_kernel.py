"""Kernel learning with a fixed number of points."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.methods.kernel_regression import Points
from tasks.bandit_regret.online_regression import OnlineMethod, Stream


class BudgetedPerceptron(OnlineMethod, name="budgeted-perceptron", label="budgeted kernel perceptron", knowledge=("horizon",)):
    """Learns from mistakes only (|error| > margin), by a gradient step on a new point; beyond the budget the oldest point goes.

    Dekel, Shalev-Shwartz, Singer (2008), "The Forgetron: a kernel-based perceptron on a budget", in its form for regression: a mistake is
    an error beyond the margin, weights shrink by `decay` at each, so that what is dropped is small. Step scale / sqrt T.
    """

    bandwidth: float = Field(0.25, gt=0, description="sigma of exp(-|x - z|^2 / (2 sigma^2))")
    budget: int = Field(100, ge=1, le=100_000, description="points kept")
    scale: float = Field(10.0, gt=0, description="factor on the step")
    margin: float = Field(0.05, ge=0, description="errors up to this are no mistakes")
    decay: float = Field(1.0, gt=0, le=1, description="factor on all weights at each mistake")

    def learner(self) -> BudgetedLearner:
        return BudgetedLearner(self)


class BudgetedLearner:
    def __init__(self, method: BudgetedPerceptron) -> None:
        self.method = method

    def reset(self, stream: Stream) -> None:
        self.points, self.weights, self.mistakes = Points(stream.dimension, self.method.bandwidth), np.zeros(self.method.budget), 0
        self.eta = self.method.scale / math.sqrt(stream.facts["horizon"])

    @property
    def atoms(self) -> int:
        return self.points.count

    def predict(self, x: np.ndarray) -> float:
        return float(self.weights[: self.atoms] @ self.points.kernel(x)) if self.atoms else 0.0

    def update(self, x: np.ndarray, y: float) -> None:
        error = self.predict(x) - y
        if abs(error) <= self.method.margin:
            return
        self.weights *= self.method.decay
        place = self.mistakes % self.method.budget
        self.points.put(place, x)
        self.weights[place] = -self.eta * error
        self.mistakes += 1
