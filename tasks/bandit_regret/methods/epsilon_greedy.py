"""Epsilon-greedy on a ridge estimate."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.protocol import Compiled, Draws, LinearMethod, Problem
from tasks.bandit_regret.ridge import Ridge, first_argmax


class EpsilonGreedy(LinearMethod, name="epsilon-greedy", label="ε-greedy"):
    """Explores uniformly with probability min(1, c d / t) in round t, else plays the arm with the best ridge prediction.

    The schedule is that of Auer, Cesa-Bianchi and Fischer (2002) with the dimension in place of the number of arms.
    """

    c: float = Field(1.0, ge=0, le=1e6, description="exploration constant; the expected number of explored rounds is about c d ln T")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    def policy(self) -> EpsilonGreedyPolicy:
        return EpsilonGreedyPolicy(self.c, self.lam)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("epsilon_greedy", (self.lam, self.c))


class EpsilonGreedyPolicy:
    def __init__(self, c: float, lam: float) -> None:
        self.c, self.lam = c, lam

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.round, self.arms, self.dimension = draws, 0, problem.arms, problem.dimension
        self.ridge = Ridge(problem.dimension, self.lam)

    @property
    def used(self) -> int:
        return self.ridge.count

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        if self.draws.uniform(self.round, 0) < min(1.0, self.c * self.dimension / self.round):
            return int(self.draws.uniform(self.round, 1) * self.arms)
        return first_argmax(contexts @ self.ridge.theta)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.ridge.add(contexts[arm], reward)
