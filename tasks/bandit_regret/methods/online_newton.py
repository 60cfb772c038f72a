"""Online Newton step for squared loss."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from tasks.bandit_regret.newton import mu, project
from tasks.bandit_regret.online_regression import OnlineMethod, Stream
from tasks.bandit_regret.protocol import Compiled


class OnlineNewton(OnlineMethod, name="ons", label="online Newton step", knowledge=("norm_bound",)):
    """A += g g', w -= A^-1 g / gamma, projected onto |w| <= S in the norm of A. Hazan, Agarwal, Kale (2007)."""

    gamma: float = Field(0.5, gt=0, le=1e6, description="inverse step")
    lam: float = Field(1.0, gt=0, le=1e6, description="A starts at lam I")

    losses: ClassVar = ("squared", "logistic", "poisson")

    @classmethod
    def theory(cls, stream: Stream) -> dict[str, Any] | str:
        return "its step, 1/2 min(1 / (4 G D), alpha), needs a bound G on the gradients, which unbounded labels don't give"

    def learner(self) -> NewtonLearner:
        return NewtonLearner(self.gamma, self.lam)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("ons", (self.lam, self.gamma, stream.facts["norm_bound"]))


class NewtonLearner:
    def __init__(self, gamma: float, lam: float) -> None:
        self.gamma, self.lam = gamma, lam

    def reset(self, stream: Stream) -> None:
        self.link = stream.link
        self.norm, self.w, self.a = stream.facts["norm_bound"], np.zeros(stream.dimension), self.lam * np.eye(stream.dimension)

    def predict(self, x: np.ndarray) -> float:
        return float(x @ self.w)

    def update(self, x: np.ndarray, y: float) -> None:
        g = (mu(self.link, self.predict(x)) - y) * x
        self.a += np.outer(g, g)
        self.w = project(self.a, self.w - np.linalg.solve(self.a, g) / self.gamma, self.norm, "gram")
