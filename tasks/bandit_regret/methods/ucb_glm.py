"""UCB-GLM: random rounds, then optimism in the score."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from tasks.bandit_regret.likelihood import LikelihoodPolicy
from tasks.bandit_regret.protocol import Compiled, GlmMethod, Problem


class UcbGlm(GlmMethod, name="ucb-glm", label="UCB-GLM"):
    """Uniform arms for `explore` rounds, then argmax x'theta + c |x|_{V^-1} with the regularised maximum-likelihood estimate.

    Li, Lu, Zhou (2017), "Provably optimal algorithms for generalized linear contextual bandits". The estimate is solved afresh in every
    round up to 50 and then each time the data have grown by 2 %; all rounds are kept.
    """

    c: float = Field(1.0, ge=0, le=1000, description="radius")
    explore: int = Field(50, ge=1, le=1_000_000, description="random rounds; the theory's number is known up to a constant only")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        """(3 R / kappa) sqrt((d / 2) ln(1 + 2 T / d) + ln(1 / delta)), R the noise scale, delta = .01; rewards in [0, 1]."""
        if "range" not in problem.facts:
            return "the published radius is for rewards in [0, 1]"
        d, facts = problem.dimension, problem.facts
        return {"c": 3 * facts["noise_scale"] / facts["kappa"] * math.sqrt(d / 2 * math.log(1 + 2 * facts["horizon"] / d) + math.log(100))}

    def policy(self) -> LikelihoodPolicy:
        return LikelihoodPolicy(self.lam, self.c, self.explore, on_mean=False)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("likelihood", (self.lam, self.c, float(self.explore), 0.0))
