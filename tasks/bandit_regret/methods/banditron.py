"""Banditron: the multiclass perceptron that is told right or wrong only."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import first_argmax
from tasks.bandit_regret.protocol import ClassifierMethod, Compiled, Draws, Problem


class Banditron(ClassifierMethod, name="banditron", label="Banditron"):
    """Plays its best guess, with probability gamma a uniform arm; the guess loses x, the arm that was right gains x / (its probability).

    Kakade, Shalev-Shwartz, Tewari (2008), "Efficient bandit algorithms for online multiclass prediction".
    """

    gamma: float = Field(0.1, gt=0, le=1, description="share of uniform rounds")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        return "its share of uniform rounds is T^(-1/3) up to an unknown constant"

    def policy(self) -> BanditronPolicy:
        return BanditronPolicy(self.gamma)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("banditron", (self.gamma,))


class BanditronPolicy:
    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.round, self.used, self.weights = draws, 0, 0, np.zeros((problem.arms, problem.dimension))

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        self.guess = first_argmax(self.weights @ contexts[0])
        if self.draws.uniform(self.round) < self.gamma:
            return int(self.draws.uniform(self.round, 1) * len(self.weights))
        return self.guess

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        if reward > 0:
            self.used += 1
            self.weights[arm] += contexts[0] / (self.gamma / len(self.weights) + (1 - self.gamma if arm == self.guess else 0.0))
        self.weights[self.guess] -= contexts[0]
