"""Exp3-IX: Exp3 with implicit exploration."""

from __future__ import annotations

from pydantic import Field

from tasks.bandit_regret.methods.exp3 import Exp3Policy
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Problem


class Exp3Ix(ArmedMethod, name="exp3-ix", label="Exp3-IX", knowledge=("range",)):
    """Exp3 whose loss estimate is l / (p + eta_t / 2): a little biased, with a much thinner tail.

    Neu (2015), "Explore no more: improved high-probability regret bounds for non-stochastic bandits".
    """

    scale: float = Field(1.0, gt=0, le=100, description="factor on the learning rate")

    def policy(self) -> Exp3Policy:
        return Exp3Policy(self.scale, 0.5)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("exp3", (self.scale, 0.5))
