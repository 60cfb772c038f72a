"""Exp3: exponential weights on importance-weighted losses."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Draws, Problem


class Exp3(ArmedMethod, name="exp3", label="Exp3", knowledge=("range",)):
    """p_i proportional to exp(-eta_t L_i), eta_t = scale sqrt(ln K / (t K)); the loss l of the arm played enters L as l / p.

    Auer, Cesa-Bianchi, Freund and Schapire (2002), without forced exploration and without the horizon.
    """

    scale: float = Field(1.0, gt=0, le=100, description="factor on the learning rate")

    def policy(self) -> Exp3Policy:
        return Exp3Policy(self.scale, 0.0)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("exp3", (self.scale, 0.0))


class Exp3Policy:
    def __init__(self, scale: float, implicit: float) -> None:
        self.scale, self.implicit = scale, implicit

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.arms, self.used = draws, problem.arms, 0
        self.losses = np.zeros(problem.arms)

    def act(self, contexts: np.ndarray) -> int:
        t = self.used + 1
        self.eta = self.scale * math.sqrt(math.log(self.arms) / (t * self.arms))
        weights = np.exp(-self.eta * (self.losses - self.losses.min()))
        self.p = weights / weights.sum()
        return choose(self.p, self.draws.uniform(t))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.losses[arm] += (1 - reward) / (self.p[arm] + self.implicit * self.eta)
        self.used += 1


def choose(p: np.ndarray, u: float) -> int:
    """The arm whose stretch of the cumulative distribution holds u."""
    return min(int(np.searchsorted(np.cumsum(p), u, side="right")), len(p) - 1)
