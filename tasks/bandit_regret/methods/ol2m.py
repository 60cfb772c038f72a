"""OL2M: online Newton for generalized linear bandits."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from tasks.bandit_regret.newton import PROJECTIONS, NewtonPolicy
from tasks.bandit_regret.protocol import Compiled, GlmMethod, Problem


class Ol2m(GlmMethod, name="ol2m", label="OL2M (online Newton)", knowledge=("norm_bound", "kappa")):
    """One Newton step per round, V += (kappa/2) x x', theta projected onto |theta| <= S; plays argmax x'theta + c |x|_{V^-1}.

    Zhang, Yang, Jin, Xiao, Zhou (2016), "Online stochastic linear optimization under one-bit feedback". The projection belongs in the norm
    of V: shrinking instead (`euclidean`) loses badly on ill-conditioned contexts.
    """

    c: float = Field(1.0, ge=0, le=1000, description="radius")
    lam: float = Field(1.0, gt=0, description="ridge parameter")
    projection: Literal["gram", "euclidean", "none"] = Field("gram", description="how theta returns to the ball")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        """The published radius at the horizon, for rewards in [0, 1] and delta = .01, with ln det V / det(lam I) at its bound."""
        if "range" not in problem.facts:
            return "the published radius is for rewards in [0, 1]"
        d, horizon, norm = problem.dimension, problem.facts["horizon"], problem.facts["norm_bound"]
        curvature = 0.5 / (1 + math.exp(norm))
        tau = math.log(4 * math.log(horizon + 1) * horizon**2 * 100)
        growth = d * math.log(1 + problem.facts["kappa"] * horizon / (2 * d))
        return {"c": math.sqrt(8 * norm + norm**2 + (8 / curvature + 16 * norm / 3) * tau + 2 / curvature * growth)}

    def policy(self) -> NewtonPolicy:
        return NewtonPolicy(self.lam, self.c, 1, self.projection, math.inf)

    def compiled(self, problem: Problem) -> Compiled:
        facts = problem.facts
        return Compiled(
            "newton", (self.lam, self.c, facts["kappa"], facts["norm_bound"], math.inf, 1.0, float(PROJECTIONS[self.projection]))
        )
