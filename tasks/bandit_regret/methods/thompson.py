"""Thompson sampling for K arms."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import Means, first_argmax
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Draws, Problem


class Thompson(ArmedMethod, name="thompson", label="Thompson sampling", knowledge=("noise_scale",)):
    """Draws a mean for each arm from its posterior and plays the largest.

    Thompson (1933); Agrawal and Goyal (2012). `beta`: Beta(1, 1) priors, rewards in [0, 1] counted as fractional successes. `gaussian`:
    N(mean, s^2 / n) after playing each arm once, s = scale times the noise scale.
    """

    prior: Literal["beta", "gaussian"] = Field("beta", description="beta needs rewards in [0, 1]")
    scale: float = Field(1.0, gt=0, le=100, description="factor on the posterior's width (gaussian)")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        return "its posterior needs noise of finite variance" if problem.facts.get("moment_order", 2.0) < 2.0 else {}

    def policy(self) -> ThompsonPolicy:
        return ThompsonPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("thompson", (float(self.prior == "gaussian"), self.scale * problem.facts["noise_scale"]))


class ThompsonPolicy:
    def __init__(self, method: Thompson) -> None:
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.arms = draws, problem.arms
        self.spread = self.method.scale * problem.facts["noise_scale"]
        self.means = Means(problem.arms)

    @property
    def used(self) -> int:
        return self.means.rounds

    def act(self, contexts: np.ndarray) -> int:
        t, counts, sums = self.means.rounds + 1, self.means.counts, self.means.sums
        if self.method.prior == "beta":
            return first_argmax(np.array([self.draws.beta(t, 128 * i, 1 + sums[i], 1 + counts[i] - sums[i]) for i in range(self.arms)]))
        if t <= self.arms:
            return t - 1
        return first_argmax(self.means.values + self.spread * self.draws.normals(t, self.arms) / np.sqrt(counts))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.means.add(arm, reward)
