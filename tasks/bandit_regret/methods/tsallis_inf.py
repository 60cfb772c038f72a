"""Tsallis-INF: one policy that is optimal against adversaries and in stochastic environments."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.optimize import brentq

from tasks.bandit_regret.methods.exp3 import choose
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Draws, Problem


class TsallisInf(ArmedMethod, name="tsallis-inf", label="Tsallis-INF", knowledge=("range",)):
    """p_i = 4 / (eta_t (L_i - x))^2 with x below min L such that p sums to 1; anytime.

    Zimmert and Seldin (2021), "Tsallis-INF: an optimal algorithm for stochastic and adversarial bandits". `iw`: eta = 2 / sqrt t and the
    importance-weighted loss l / p. `rv`: eta = 4 / sqrt t and losses measured from the baseline 1/2 of arms with p >= eta^2.
    """

    estimator: Literal["iw", "rv"] = Field("iw", description="importance weighted, or with reduced variance")

    def policy(self) -> TsallisInfPolicy:
        return TsallisInfPolicy(self.estimator == "rv")

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("tsallis", (float(self.estimator == "rv"),))


class TsallisInfPolicy:
    def __init__(self, reduced: bool) -> None:
        self.reduced = reduced

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.draws, self.used = draws, 0
        self.losses = np.zeros(problem.arms)

    def act(self, contexts: np.ndarray) -> int:
        t = self.used + 1
        self.eta = (4 if self.reduced else 2) / math.sqrt(t)
        self.p = tsallis_weights(self.losses, self.eta)
        return choose(self.p, self.draws.uniform(t))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        baseline = 0.5 * (self.p >= self.eta**2) if self.reduced else np.zeros(len(self.p))
        self.losses += baseline
        self.losses[arm] += (1 - reward - baseline[arm]) / self.p[arm]
        self.used += 1


def tsallis_weights(losses: np.ndarray, eta: float) -> np.ndarray:
    """The weights [arms], by Brent's method on the bracket where the root must lie (2/eta to 2 sqrt(K)/eta below the smallest loss)."""
    gaps = losses - losses.min()
    low, high = 2 / eta, 2 * math.sqrt(len(losses)) / eta

    def excess(depth: float) -> float:
        return float(np.sum(4 / (eta * (gaps + depth)) ** 2)) - 1

    depth = high if excess(high) >= 0 else brentq(excess, low, high, xtol=1e-14, rtol=1e-15)
    return 4 / (eta * (gaps + depth)) ** 2
