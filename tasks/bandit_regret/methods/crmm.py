"""CRMM: online Newton on medians of repeated plays."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from tasks.bandit_regret.newton import PROJECTIONS, NewtonPolicy
from tasks.bandit_regret.protocol import Compiled, GlmMethod, Problem


class Crmm(GlmMethod, name="crmm", label="CRMM", paper=69, knowledge=("norm_bound", "kappa")):
    """Plays an arm `plays` times in a row and gives the median of its rewards to OL2M's Newton step; regret is charged for every play.

    Paper 69, "Efficient Algorithms for Generalized Linear Bandits with Heavy-tailed Rewards" (reconstructed from the abstract). Needs
    symmetric noise: elsewhere the median is not the mean and regret grows linearly. Contexts must stay for `plays` rounds.
    """

    c: float = Field(1.0, ge=0, le=1000, description="radius")
    plays: int = Field(11, ge=1, le=1000, description="plays per epoch; the theory's 16 ln(4 T / delta) is about ten times as many")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        return "16 ln(4 T / delta) plays per epoch need contexts that stay for hundreds of rounds"

    def policy(self) -> NewtonPolicy:
        return NewtonPolicy(self.lam, self.c, self.plays, "gram", math.inf)

    def compiled(self, problem: Problem) -> Compiled:
        facts = problem.facts
        params = (self.lam, self.c, facts["kappa"], facts["norm_bound"], math.inf, float(self.plays), float(PROJECTIONS["gram"]))
        return Compiled("newton", params)
