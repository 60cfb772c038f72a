"""UCB on truncated means, for heavy tails."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import MeansPolicy
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Problem


class TruncatedUcb(ArmedMethod, name="truncated-ucb", label="truncated UCB", knowledge=("moment_order", "moment_bound")):
    """Plays the largest truncated mean + 4 c u^(1/(1+eps)) (ln t^2 / n)^(eps/(1+eps)); each arm once first.

    Bubeck, Cesa-Bianchi and Lugosi (2013), "Bandits with heavy tail". The s-th reward of an arm counts if |x| <= (u s / ln t^2)^(1/(1+eps))
    and as 0 otherwise, with t the round in which it arrives, so that memory does not grow (the paper judges all rewards afresh in every
    round). c = 1 is the theory, which loses to UCB1 at common horizons.
    """

    c: float = Field(1.0, gt=0, le=100, description="factor on the bonus; 1 is the theory's, .1 is what experiments use")

    def policy(self) -> TruncatedUcbPolicy:
        return TruncatedUcbPolicy(self.c)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("truncated", (self.c, problem.facts["moment_order"] - 1, problem.facts["moment_bound"]))


class TruncatedUcbPolicy(MeansPolicy):
    def __init__(self, c: float) -> None:
        self.c, self.kept = c, 0

    @property
    def used(self) -> int:
        return self.kept

    def scores(self, t: int) -> np.ndarray:
        order, u = self.facts["moment_order"], self.facts["moment_bound"]
        return self.means.values + 4 * self.c * u ** (1 / order) * (2 * math.log(t) / self.means.counts) ** ((order - 1) / order)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        t = self.means.rounds + 1
        level = self.facts["moment_bound"] * (self.means.counts[arm] + 1) / (2 * math.log(max(t, 2)))
        keep = abs(reward) <= level ** (1 / self.facts["moment_order"])
        self.kept += keep
        self.means.add(arm, reward if keep else 0.0)
