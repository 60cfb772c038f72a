"""Variance-aware bandit of paper 63: one regression per level of the noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import Ridge, first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, LinearMethod, Problem


class VarianceLevels(LinearMethod, name="variance-levels", label="multi-level OFUL", paper=63, knowledge=("noise_scale_per_round",)):
    """Round t belongs to level floor(log2(R / sigma_t)); each level has its own FTRL regression and confidence set, and the policy is
    optimistic over their intersection: it plays the largest minimum over levels of the level's upper bound.

    Paper 63, "Optimal Online Generalized Linear Regression with Stochastic Noise and Its Application to Heteroscedastic Bandits" (linear
    link, where FTRL is ridge regression; reconstructed from the abstract). Rows of a level are divided by its noise R 2^-level.
    """

    beta: float = Field(3.0, ge=0, le=1000, description="radius in units of the level's noise")
    levels: int = Field(6, ge=1, le=40, description="number of levels; quieter rounds fall into the last one")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        """The radius at the horizon for noise normalised to 1 and six levels, delta = .01."""
        d, facts = problem.dimension, problem.facts
        return {"beta": math.sqrt(2 * math.log(600) + d * math.log(1 + facts["horizon"] / d)) + facts["norm_bound"]}

    def policy(self) -> VarianceLevelsPolicy:
        return VarianceLevelsPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("levels", (self.lam, self.beta, problem.facts["noise_scale_per_round"], float(self.levels)))


class VarianceLevelsPolicy:
    def __init__(self, method: VarianceLevels) -> None:
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        assert problem.noise_at is not None
        self.sigma, self.largest = problem.noise_at, problem.facts["noise_scale_per_round"]
        self.levels = [Ridge(problem.dimension, self.method.lam) for _ in range(self.method.levels)]

    @property
    def used(self) -> int:
        return sum(level.count for level in self.levels)

    def act(self, contexts: np.ndarray) -> int:
        bounds = [contexts @ ridge.theta + self.method.beta * ridge.widths(contexts) for ridge in self.levels]
        return first_argmax(np.min(bounds, axis=0))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        level = math.floor(math.log2(self.largest / self.sigma(self.used + 1)) + 1e-9)
        level = min(max(level, 0), len(self.levels) - 1)
        scale = 2.0**level / self.largest
        self.levels[level].add(contexts[arm] * scale, reward * scale)
