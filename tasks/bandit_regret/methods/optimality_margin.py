"""Maximum optimality margin: learn costs from optimal decisions alone."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.context_lp import DecisionMethod, Decisions, reduced_costs


class OptimalityMargin(DecisionMethod, name="optimality-margin", label="optimality margin", paper=137):
    """min (lam / 2) |Theta|^2 + mean over rows of the sum of hinges (1 - reduced cost)_+ at the row's optimal basis, under predicted costs.

    Paper 137, "Maximum optimality margin: a unified approach for contextual linear programming and inverse linear programming" (derived
    from the abstract by LP duality). It never sees costs. Subgradient steps 1 / (lam k) with the later half of the iterates averaged.
    """

    lam: float = Field(0.01, gt=0, le=1e3, description="regularisation")
    steps: int = Field(2000, ge=1, le=1_000_000, description="full-batch subgradient steps")

    def fit(self, decisions: Decisions) -> np.ndarray:
        tables, z = reduced_costs(decisions.programme)[decisions.optimal], decisions.contexts
        rows, p = z.shape
        theta, mean, count = np.zeros((tables.shape[2], p)), np.zeros((tables.shape[2], p)), 0
        for k in range(1, self.steps + 1):
            margins = np.einsum("trn,tn->tr", tables, z @ theta.T)
            pull = np.einsum("tr,trn->tn", (margins < 1).astype(float), tables)
            theta = theta - (self.lam * theta - pull.T @ z / rows) / (self.lam * k)
            if 2 * k > self.steps:
                count += 1
                mean += (theta - mean) / count
        return mean
