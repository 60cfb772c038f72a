"""LinTS: Thompson sampling with a Gaussian posterior on theta."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import Ridge, first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, LinearMethod, Problem


class LinTS(LinearMethod, name="lints", label="LinTS", knowledge=("horizon", "noise_scale")):
    """Draws w ~ N(theta, v^2 V^-1) around the ridge estimate and plays argmax x'w.

    Agrawal and Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs". Their v = R sqrt(9 d ln(t/delta)) is far too
    wide in practice; v = R is the Bayesian posterior.
    """

    v: float = Field(1.0, gt=0, le=1000, description="scale of the posterior; the noise's standard deviation is the Bayesian choice")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        facts = problem.facts
        return {"v": facts["noise_scale"] * math.sqrt(9 * problem.dimension * math.log(facts["horizon"] / 0.01))}

    def policy(self) -> LinTSPolicy:
        return LinTSPolicy(self.v, self.lam)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("thompson", (self.lam, self.v))


class LinTSPolicy:
    def __init__(self, v: float, lam: float) -> None:
        self.v, self.lam = v, lam

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.round = draws, 0
        self.ridge = Ridge(problem.dimension, self.lam)

    @property
    def used(self) -> int:
        return self.ridge.count

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        lower = np.linalg.cholesky(self.ridge.gram)
        z = self.draws.normals(self.round, lower.shape[0])
        return first_argmax(contexts @ (self.ridge.theta + self.v * np.linalg.solve(lower.T, z)))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.ridge.add(contexts[arm], reward)
