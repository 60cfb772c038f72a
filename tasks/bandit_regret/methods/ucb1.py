"""UCB1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import MeansPolicy
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Problem


class Ucb1(ArmedMethod, name="ucb1", label="UCB1", knowledge=("noise_scale",)):
    """Plays each arm once, then the largest mean + s sqrt(2 ln t / n) with s = scale times the noise scale (1/2 for rewards in [0, 1]).

    Auer, Cesa-Bianchi and Fischer (2002), "Finite-time analysis of the multiarmed bandit problem".
    """

    scale: float = Field(1.0, gt=0, le=100, description="factor on the bonus; the paper's is 2")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        if problem.facts.get("moment_order", 2.0) < 2.0:
            return "its bonus needs noise of finite variance"
        return {"scale": 2.0}  # sqrt(2 ln t / n) for rewards in [0, 1], whose noise scale is 1/2

    def policy(self) -> Ucb1Policy:
        return Ucb1Policy(self.scale)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("ucb1", (self.scale * problem.facts["noise_scale"],))


class Ucb1Policy(MeansPolicy):
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def scores(self, t: int) -> np.ndarray:
        return self.means.values + self.scale * self.facts["noise_scale"] * np.sqrt(2 * math.log(t) / self.means.counts)
