"""CRTM: online Newton on truncated rewards."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from tasks.bandit_regret.newton import PROJECTIONS, NewtonPolicy
from tasks.bandit_regret.protocol import Compiled, Draws, GlmMethod, Problem


class Crtm(GlmMethod, name="crtm", label="CRTM", paper=69, knowledge=("horizon", "norm_bound", "kappa", "moment_order", "moment_bound")):
    """OL2M's Newton step on rewards that count as 0 where |y| |x|_{V^-1} (before the update) exceeds a threshold.

    Paper 69, "Efficient Algorithms for Generalized Linear Bandits with Heavy-tailed Rewards" (from the abstract): one pass, no
    stored rewards. The threshold is g u^(1/(1+eps)) T^((1-eps)/(2(1+eps))) with u a bound on the (1+eps)-th moment; the radius is flat.
    """

    c: float = Field(1.0, ge=0, le=1000, description="radius")
    g: float = Field(0.3, gt=0, le=1000, description="factor on the truncation threshold")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        """The orders of the abstract with constants 1: radius^2 = d T^((1-eps)/(1+eps)) ln T."""
        horizon, order = problem.facts["horizon"], problem.facts["moment_order"]
        return {"c": math.sqrt(problem.dimension * horizon ** ((2 - order) / order) * math.log(horizon)), "g": 1.0}

    def threshold(self, problem: Problem) -> float:
        order, facts = problem.facts["moment_order"], problem.facts
        return self.g * facts["moment_bound"] ** (1 / order) * facts["horizon"] ** ((2 - order) / (2 * order))

    def policy(self) -> CrtmPolicy:
        return CrtmPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        facts, threshold = problem.facts, self.threshold(problem)
        return Compiled("newton", (self.lam, self.c, facts["kappa"], facts["norm_bound"], threshold, 1.0, float(PROJECTIONS["gram"])))


class CrtmPolicy(NewtonPolicy):
    def __init__(self, method: Crtm) -> None:
        super().__init__(method.lam, method.c, 1, "gram", 0.0)
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        super().reset(problem, draws)
        self.threshold = self.method.threshold(problem)
