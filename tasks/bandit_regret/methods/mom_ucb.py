"""UCB on medians of means, for heavy tails."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import MeansPolicy
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Draws, Problem


class MomUcb(ArmedMethod, name="mom-ucb", label="median-of-means UCB", knowledge=("moment_order", "central_moment_bound")):
    """Plays the largest median of k block means + c (12 v)^(1/(1+eps)) (16 ln(e^(1/8) t^2) / n)^(eps/(1+eps)); each arm once first.

    Bubeck, Cesa-Bianchi and Lugosi (2013), "Bandits with heavy tail"; k = min(8 ln(e^(1/8) t^2), n / 2), at least 1. It keeps
    every reward.
    """

    c: float = Field(1.0, gt=0, le=100, description="factor on the bonus; 1 is the theory's, .1 is what experiments use")

    def policy(self) -> MomUcbPolicy:
        return MomUcbPolicy(self.c)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("median_of_means", (self.c, problem.facts["moment_order"] - 1, problem.facts["central_moment_bound"]))


class MomUcbPolicy(MeansPolicy):
    def __init__(self, c: float) -> None:
        self.c = c

    def reset(self, problem: Problem, draws: Draws) -> None:
        super().reset(problem, draws)
        self.rewards: list[list[float]] = [[] for _ in range(problem.arms)]

    def scores(self, t: int) -> np.ndarray:
        order, v = self.facts["moment_order"], self.facts["central_moment_bound"]
        spread = 1 / 8 + 2 * math.log(t)
        medians = [median_of_means(rewards, max(1, min(int(8 * spread), len(rewards) // 2))) for rewards in self.rewards]
        return np.array(medians) + self.c * (12 * v) ** (1 / order) * (16 * spread / self.means.counts) ** ((order - 1) / order)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        super().update(contexts, arm, reward)
        self.rewards[arm].append(reward)


def median_of_means(rewards: list[float], blocks: int) -> float:
    """Median of the means of the first `blocks` blocks of len(rewards) // blocks rewards; what is left over is not used."""
    size = len(rewards) // blocks
    return float(np.median(np.mean(np.reshape(rewards[: size * blocks], (blocks, size)), axis=1)))
