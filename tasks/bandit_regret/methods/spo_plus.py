"""SPO+: a convex surrogate of the decision's extra cost."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.context_lp import DecisionMethod, Decisions


class SpoPlus(DecisionMethod, name="spo-plus", label="SPO+", knowledge=("costs",)):
    """Full-batch subgradient descent on the SPO+ loss from the least-squares fit: step eta / sqrt k along 2 (x*(c) - x*(2 c_hat - c)) z'.

    Elmachtoub and Grigas (2022), "Smart predict, then optimize". The later half of the iterates is averaged.
    """

    eta: float = Field(0.1, gt=0, le=1e3, description="step")
    steps: int = Field(500, ge=1, le=1_000_000, description="full-batch subgradient steps")

    def fit(self, decisions: Decisions) -> np.ndarray:
        assert decisions.costs is not None
        z, costs, vertices = decisions.contexts, decisions.costs, decisions.programme.vertices
        theta = np.linalg.lstsq(z, costs, rcond=None)[0].T
        mean, count = np.zeros_like(theta), 0
        for k in range(1, self.steps + 1):
            twisted = decisions.programme.solve(2 * z @ theta.T - costs)
            gradient = 2 * (vertices[decisions.optimal] - vertices[twisted]).T @ z / len(z)
            theta = theta - self.eta / math.sqrt(k) * gradient
            if 2 * k > self.steps:
                count += 1
                mean += (theta - mean) / count
        return mean
