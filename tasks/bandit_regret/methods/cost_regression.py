"""Predict, then optimise: least squares on the costs."""

from __future__ import annotations

import numpy as np

from tasks.bandit_regret.context_lp import DecisionMethod, Decisions


class CostRegression(DecisionMethod, name="cost-ols", label="least squares on costs", knowledge=("costs",)):
    """Ordinary least squares of the costs on the context, blind to the decisions that they lead to."""

    def fit(self, decisions: Decisions) -> np.ndarray:
        assert decisions.costs is not None
        return np.linalg.lstsq(decisions.contexts, decisions.costs, rcond=None)[0].T
