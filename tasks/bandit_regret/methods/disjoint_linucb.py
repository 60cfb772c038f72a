"""LinUCB with one linear model per arm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import Ridge, first_argmax
from tasks.bandit_regret.protocol import ClassifierMethod, Compiled, Draws, Problem


class DisjointLinUcb(ClassifierMethod, name="disjoint-linucb", label="LinUCB (disjoint)"):
    """Plays argmax x'theta_a + alpha |x|_{V_a^-1}, theta_a the ridge estimate from the rounds in which arm a was played.

    Li, Chu, Langford, Schapire (2010), "A contextual-bandit approach to personalized news article recommendation".
    """

    alpha: float = Field(1.0, ge=0, le=1000, description="radius")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        """1 + sqrt(ln(2 / delta) / 2), delta = .01."""
        return {"alpha": 1 + math.sqrt(math.log(200) / 2)}

    def policy(self) -> DisjointPolicy:
        return DisjointPolicy(self.lam, self.alpha, 0.0)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("disjoint", (self.lam, self.alpha, 0.0))


class DisjointPolicy:
    """One ridge regression per arm: optimistic by `alpha`, uniform with probability `epsilon`."""

    def __init__(self, lam: float, alpha: float, epsilon: float) -> None:
        self.lam, self.alpha, self.epsilon = lam, alpha, epsilon

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.arms = draws, [Ridge(problem.dimension, self.lam) for _ in range(problem.arms)]

    @property
    def used(self) -> int:
        return sum(ridge.count for ridge in self.arms)

    def act(self, contexts: np.ndarray) -> int:
        t, x = self.used + 1, contexts[:1]
        if self.epsilon > 0 and self.draws.uniform(t) < self.epsilon:
            return int(self.draws.uniform(t, 1) * len(self.arms))
        return first_argmax(np.array([float(x[0] @ ridge.theta) + self.alpha * float(ridge.widths(x)[0]) for ridge in self.arms]))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.arms[arm].add(contexts[arm], reward)
