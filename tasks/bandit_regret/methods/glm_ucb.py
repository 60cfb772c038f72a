"""GLM-UCB: optimism in the mean around the maximum-likelihood estimate."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from tasks.bandit_regret.likelihood import LikelihoodPolicy
from tasks.bandit_regret.protocol import Compiled, GlmMethod, Problem


class GlmUcb(GlmMethod, name="glm-ucb", label="GLM-UCB"):
    """Plays argmax mu(x'theta) + c |x|_{V^-1}, theta the regularised maximum-likelihood estimate, V = lam I + sum x x'.

    Filippi, Cappe, Garivier, Szepesvari (2010), "Parametric bandits: the generalized linear case". The estimate is solved afresh in every
    round up to 50 and then each time the data have grown by 2 %; all rounds are kept.
    """

    c: float = Field(1.0, ge=0, le=1000, description="radius")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        """(1 / (4 kappa)) sqrt(2 ln(1/delta) + ln det V / det(lam I)) + sqrt(lam) S at the horizon, delta = .01; rewards in [0, 1]."""
        if "range" not in problem.facts:
            return "the published radius is for rewards in [0, 1]"
        d, facts = problem.dimension, problem.facts
        growth = 2 * math.log(100) + d * math.log(1 + facts["horizon"] / d)
        return {"c": math.sqrt(growth) / (4 * facts["kappa"]) + facts["norm_bound"]}

    def policy(self) -> LikelihoodPolicy:
        return LikelihoodPolicy(self.lam, self.c, 0, on_mean=True)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("likelihood", (self.lam, self.c, 0.0, 1.0))
