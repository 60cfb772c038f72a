"""Uniform play: the floor that every learner must leave."""

from __future__ import annotations

import numpy as np

from tasks.bandit_regret.protocol import ArmedMethod, ClassifierMethod, Compiled, Draws, GlmMethod, LinearMethod, Problem


class Uniform(LinearMethod, ArmedMethod, GlmMethod, ClassifierMethod, name="uniform", label="uniform"):
    """Plays an arm uniformly at random in every round. Its regret is T times the mean gap."""

    def policy(self) -> UniformPolicy:
        return UniformPolicy()

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("uniform")


class UniformPolicy:
    used = 0

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.round, self.arms = draws, 0, problem.arms

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        return int(self.draws.uniform(self.round) * self.arms)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        pass
