"""Learners that fit all past rounds in every round: FTRL, and the forward algorithm."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.bandit_regret.likelihood import maximise_likelihood
from tasks.bandit_regret.online_regression import Learner, OnlineMethod, Stream
from tasks.bandit_regret.protocol import Compiled


class Ftrl(OnlineMethod, name="ftrl", label="FTRL", paper=63):
    """Predicts with the minimiser of (lam/2) |mu|^2 plus all past losses: for squared loss, ridge regression on the past; for the others a
    convex problem that is solved in every round, O(t) each.

    Paper 63, "Optimal Online Generalized Linear Regression with Stochastic Noise and Its Application to Heteroscedastic Bandits": with
    stochastic noise of variance s^2 the regret against the truth is (s^2 / 2) d ln T to leading order.
    """

    lam: float = Field(1.0, gt=0, le=1e6, description="regularisation")

    losses: ClassVar = ("squared", "logistic", "poisson")

    def learner(self) -> Learner:
        return FtrlLearner(self.lam)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("ridge", (self.lam, 0.0)) if stream.link == "identity" else Compiled("ftrl", (self.lam,))


class Vaw(OnlineMethod, name="vaw", label="Vovk-Azoury-Warmuth"):
    """Ridge regression that counts the present x, with target 0, before it predicts. Vovk (2001); Azoury and Warmuth (2001)."""

    lam: float = Field(1.0, gt=0, le=1e6, description="regularisation")

    def learner(self) -> RidgeLearner:
        return RidgeLearner(self.lam, forward=True)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("ridge", (self.lam, 1.0))


class RidgeLearner:
    def __init__(self, lam: float, forward: bool) -> None:
        self.lam, self.forward = lam, forward

    def reset(self, stream: Stream) -> None:
        self.gram, self.moments = self.lam * np.eye(stream.dimension), np.zeros(stream.dimension)

    def predict(self, x: np.ndarray) -> float:
        gram = self.gram + np.outer(x, x) if self.forward else self.gram
        return float(x @ np.linalg.solve(gram, self.moments))

    def update(self, x: np.ndarray, y: float) -> None:
        self.gram += np.outer(x, x)
        self.moments += y * x


class FtrlLearner:
    """Keeps all rows for losses other than squared, whose minimiser has no sufficient statistic."""

    def __init__(self, lam: float) -> None:
        self.lam = lam

    def reset(self, stream: Stream) -> None:
        self.link, self.w = stream.link, np.zeros(stream.dimension)
        self.ridge = RidgeLearner(self.lam, forward=False)
        self.ridge.reset(stream)
        self.rows: list[np.ndarray] = []
        self.targets: list[float] = []

    def predict(self, x: np.ndarray) -> float:
        return self.ridge.predict(x) if self.link == "identity" else float(x @ self.w)

    def update(self, x: np.ndarray, y: float) -> None:
        if self.link == "identity":
            self.ridge.update(x, y)
            return
        self.rows.append(x.copy())
        self.targets.append(y)
        self.w = maximise_likelihood(np.array(self.rows), np.array(self.targets), self.link, self.lam, self.w)
