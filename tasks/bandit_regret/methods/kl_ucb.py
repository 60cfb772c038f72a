"""KL-UCB for rewards in [0, 1]."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import rel_entr

from tasks.bandit_regret.estimates import MeansPolicy
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Problem


class KlUcb(ArmedMethod, name="kl-ucb", label="KL-UCB", knowledge=("range",)):
    """Plays each arm once, then the largest q with n kl(mean, q) <= ln t + c ln ln t, kl between Bernoulli laws.

    Garivier and Cappe (2011), "The KL-UCB algorithm for bounded stochastic bandits and beyond"; c = 0 is what they advise in practice.
    """

    c: float = Field(0.0, ge=0, le=10, description="factor on ln ln t")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        return {"c": 3.0}

    def policy(self) -> KlUcbPolicy:
        return KlUcbPolicy(self.c)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("kl_ucb", (self.c,))


class KlUcbPolicy(MeansPolicy):
    def __init__(self, c: float) -> None:
        self.c = c

    def scores(self, t: int) -> np.ndarray:
        level = math.log(t) + self.c * math.log(max(math.log(t), 1))
        means = np.clip(self.means.values, 0, 1)
        return np.array([kl_upper(mean, level / n) for mean, n in zip(means, self.means.counts, strict=True)])


def kl_upper(mean: float, level: float) -> float:
    """The largest q in [mean, 1] with kl(mean, q) <= level, by Brent's bracketing method."""

    def excess(q: float) -> float:
        return float(rel_entr(mean, q) + rel_entr(1 - mean, 1 - q)) - level

    above = 1 - 1e-16
    return above if mean >= above or excess(above) <= 0 else float(brentq(excess, mean, above, xtol=1e-15, rtol=1e-14))
