"""Weighted OFUL: rounds count by the inverse of their variance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import Ridge, first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, LinearMethod, Problem


class WeightedOful(LinearMethod, name="weighted-oful", label="weighted OFUL", knowledge=("noise_scale_per_round",)):
    """OFUL on rows x/s and rewards r/s with s^2 = max(sigma_t^2, floor^2, g^2 |x|_{V^-1}).

    Zhou, Gu, Szepesvari (2021), "Nearly minimax optimal reinforcement learning for linear mixture MDPs" (g = 0); Zhou and Gu (2022),
    "Computationally efficient horizon-free RL for linear mixture MDPs" (g > 0, WeightedOFUL+: uncertain rounds count less).
    """

    beta: float = Field(1.0, ge=0, le=1000, description="radius in units of the normalised noise")
    floor: float = Field(0.02, gt=0, le=100, description="smallest standard deviation that is believed")
    g: float = Field(0.0, ge=0, le=100, description="weight of the uncertainty; 0: plain weighting, .5: WeightedOFUL+")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        """The radius at the horizon for noise normalised to 1, rows no longer than 1 / floor, delta = .01; g^2 = R / sqrt d."""
        d, facts, floor = problem.dimension, problem.facts, 0.02
        radius = math.sqrt(2 * math.log(100) + d * math.log(1 + facts["horizon"] / (d * floor**2))) + facts["norm_bound"]
        return {"beta": radius, "g": math.sqrt(facts["noise_scale"] / math.sqrt(d))}

    def policy(self) -> WeightedOfulPolicy:
        return WeightedOfulPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("weighted", (self.lam, self.beta, self.floor, self.g))


class WeightedOfulPolicy:
    def __init__(self, method: WeightedOful) -> None:
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        assert problem.noise_at is not None
        self.sigma, self.ridge = problem.noise_at, Ridge(problem.dimension, self.method.lam)

    @property
    def used(self) -> int:
        return self.ridge.count

    def act(self, contexts: np.ndarray) -> int:
        return first_argmax(contexts @ self.ridge.theta + self.method.beta * self.ridge.widths(contexts))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        width = self.ridge.widths(contexts[arm : arm + 1])[0]
        scale = math.sqrt(max(self.sigma(self.used + 1) ** 2, self.method.floor**2, self.method.g**2 * width))
        self.ridge.add(contexts[arm] / scale, reward / scale)
