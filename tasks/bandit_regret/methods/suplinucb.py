"""SupLinUCB in the form of paper 144: levels of uncertainty, each with its own regression."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import TIE, Ridge, first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, LinearMethod, Problem


class SupLinUcb(LinearMethod, name="suplinucb", label="SupLinUCB", paper=144, knowledge=("horizon", "noise_scale")):
    """Works through levels l = 1, 2, ... with the arms that survive. At level l, with widths and estimates from the rounds of that level:

    * some width >= 2^-l: play the widest arm and learn from the round at this level;
    * else, in rounds t <= 4^l d: play the largest x'theta_l + beta_l |x|_{U_l^-1} and learn nothing;
    * else drop the arms whose upper bound is more than 3 beta_l 2^-l below the best one and go to level l + 1.

    Paper 144, algorithm 11 of the first author's dissertation (after Chu et al. 2011); it is told neither the gap nor zeta. The radius is
    beta_l = scale (1 + R sqrt(2 d i2)), i1 = ln(3 * 2^l), i2 = ln((d 2^l + 16 * 8^l i1) / (d delta)). By default the constant `beta`
    replaces it, as in experiments: with the paper's schedule nothing is eliminated before round 10^4 in 16 dimensions.
    """

    beta: float | None = Field(1.0, gt=0, le=1000, description="constant radius; null: the paper's schedule")
    scale: float = Field(1.0, gt=0, le=1000, description="factor on the paper's schedule")
    delta: float = Field(0.01, gt=0, lt=1, description="failure probability")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    def radii(self, problem: Problem) -> tuple[float, ...]:
        """The radius of each of the ceil(log2 T) levels."""
        levels = max(1, math.ceil(math.log2(problem.facts["horizon"])))
        if self.beta is not None:
            return (self.beta,) * levels
        d, noise = problem.dimension, problem.facts["noise_scale"]
        radii = []
        for level in range(1, levels + 1):
            i1 = math.log(3 * 2**level)
            i2 = math.log((d * 2**level + 16 * 8**level * i1) / (d * self.delta))
            radii.append(self.scale * (1 + noise * math.sqrt(2 * d * i2)))
        return tuple(radii)

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        return {"beta": None}

    def policy(self) -> SupLinUcbPolicy:
        return SupLinUcbPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("suplin", (self.lam, *self.radii(problem)))


class SupLinUcbPolicy:
    def __init__(self, method: SupLinUcb) -> None:
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.radii = self.method.radii(problem)
        self.levels = [Ridge(problem.dimension, self.method.lam) for _ in self.radii]
        self.round = 0

    @property
    def used(self) -> int:
        return sum(level.count for level in self.levels)

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        self.learner: Ridge | None = None
        alive = np.arange(len(contexts))
        for number, (ridge, beta) in enumerate(zip(self.levels, self.radii, strict=True), 1):
            size, arms = 2.0**-number, contexts[alive]
            widths = ridge.widths(arms)
            if widths.max() >= size - TIE:
                self.learner = ridge
                return int(alive[first_argmax(widths)])
            scores = arms @ ridge.theta + beta * widths
            best = first_argmax(scores)
            if self.round <= 4**number * contexts.shape[1] or number == len(self.levels):
                break
            alive = alive[scores >= scores[best] - 3 * beta * size - TIE]
        return int(alive[best])

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        if self.learner is not None:
            self.learner.add(contexts[arm], reward)
