"""Learners that solve a ridge problem in every round: FTRL for squared loss, and the forward algorithm."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.online_regression import OnlineMethod, Stream
from tasks.bandit_regret.protocol import Compiled


class Ftrl(OnlineMethod, name="ftrl", label="FTRL (ridge)", paper=63):
    """Predicts with the minimiser of (lam/2) |mu|^2 plus all past losses: for squared loss, ridge regression on the past.

    Paper 63, "Optimal Online Generalized Linear Regression with Stochastic Noise and Its Application to Heteroscedastic Bandits": with
    stochastic noise of variance s^2 the regret against the truth is (s^2 / 2) d ln T to leading order.
    """

    lam: float = Field(1.0, gt=0, le=1e6, description="regularisation")

    def learner(self) -> RidgeLearner:
        return RidgeLearner(self.lam, forward=False)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("ridge", (self.lam, 0.0))


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
