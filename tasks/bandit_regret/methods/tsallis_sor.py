"""Tsallis-INF on iteration counts, blind to the instance or with one copy per bin of the context."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.methods.exp3 import choose
from tasks.bandit_regret.methods.tsallis_inf import tsallis_weights
from tasks.bandit_regret.protocol import Draws, Problem, SolverMethod
from tasks.bandit_regret.solver_tuning import INTERVAL


class TsallisSor(SolverMethod, name="tsallis-sor", label="Tsallis-INF (costs)", paper=74):
    """Tsallis-INF whose importance-weighted losses (cost - 1) / p are divided by the running mean of cost - 1 (no bound is needed).

    Paper 74, "Learning to Relax: Setting Solver Parameters Across a Sequence of Linear System Instances". `bins` > 1 runs one copy per bin
    of the context (Tsallis-INF-CB), the instance going to the nearest centre.
    """

    bins: int = Field(1, ge=1, le=100, description="bins of the context; 1 ignores it")

    def policy(self) -> TsallisSorPolicy:
        return TsallisSorPolicy(self.bins)


class TsallisSorPolicy:
    def __init__(self, bins: int) -> None:
        low, high = INTERVAL
        self.centres = low + (np.arange(bins) + 0.5) * (high - low) / bins

    def reset(self, problem: Problem, draws: Draws) -> None:
        bins = len(self.centres)
        self.draws, self.round = draws, 0
        self.losses, self.counts, self.totals = np.zeros((bins, problem.arms)), np.zeros(bins), np.zeros(bins)

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        self.bin = int(np.abs(self.centres - contexts[0, 0]).argmin())
        count = self.counts[self.bin]
        scale = self.totals[self.bin] / count if count else 1.0
        self.p = tsallis_weights(self.losses[self.bin] / max(scale, 1e-9), 2 / math.sqrt(count + 1))
        return choose(self.p, self.draws.uniform(self.round))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        excess = -reward - 1
        self.losses[self.bin, arm] += excess / self.p[arm]
        self.totals[self.bin] += excess
        self.counts[self.bin] += 1
