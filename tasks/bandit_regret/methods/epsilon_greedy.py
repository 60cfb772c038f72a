"""Epsilon-greedy on a ridge estimate, or on means per arm."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import Means, Ridge, first_argmax
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Draws, LinearMethod, Policy, Problem


class EpsilonGreedy(LinearMethod, ArmedMethod, name="epsilon-greedy", label="ε-greedy", knowledge=("gap",)):
    """Explores uniformly with probability min(1, c d / t) in round t, else plays the arm with the best ridge prediction.

    The schedule is that of Auer, Cesa-Bianchi and Fischer (2002) with the dimension d in place of the number of arms; without contexts it
    is theirs, c K / t, on the mean reward of each arm (arms never played first). `gap` is what theory sets c from.
    """

    c: float = Field(1.0, ge=0, le=1e6, description="exploration constant; about c d ln T rounds explore (c K ln T)")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        gap = problem.facts.get("gap")
        if not gap or problem.dimension or "range" not in problem.facts:
            return "its schedule, c = 5 / gap^2, is given for rewards in [0, 1], a known gap and no contexts"
        return {"c": 5 / gap**2}

    def policy(self) -> Policy:
        return EpsilonGreedyPolicy(self.c, self.lam)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("epsilon_greedy", (self.lam, self.c) if problem.dimension else (self.c,))


class EpsilonGreedyPolicy:
    def __init__(self, c: float, lam: float) -> None:
        self.c, self.lam = c, lam

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.round, self.arms, self.dimension = draws, 0, problem.arms, problem.dimension
        self.ridge, self.means = Ridge(problem.dimension, self.lam), Means(problem.arms)

    @property
    def used(self) -> int:
        return self.round

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        if self.draws.uniform(self.round, 0) < min(1.0, self.c * (self.dimension or self.arms) / self.round):
            return int(self.draws.uniform(self.round, 1) * self.arms)
        if self.dimension:
            return first_argmax(contexts @ self.ridge.theta)
        return first_argmax(self.means.values)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.ridge.add(contexts[arm], reward)
        self.means.add(arm, reward)
