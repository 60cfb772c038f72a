"""Averaged stochastic gradient on zero-imputed inputs."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.bandit_regret.imputed_linear import ImputationMethod


class ImputedSgd(ImputationMethod, name="imputed-sgd", label="averaged SGD on zeros", paper=67):
    """One pass of SGD from 0 over the imputed rows, iterates averaged.

    Paper 67, "Naive imputation implicitly regularizes high-dimensional linear models" (reconstructed from the abstract). The step is
    1 / (2 Tr) or 1 / (Tr sqrt n), with Tr the mean squared norm of the imputed rows.
    """

    step: Literal["constant", "horizon"] = Field("constant", description="1 / (2 Tr), or 1 / (Tr sqrt n)")

    @classmethod
    def theory(cls) -> dict[str, Any]:
        """The step for which the paper's bound holds."""
        return {"step": "horizon"}

    def fit(self, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
        trace = float(np.mean(np.sum(rows**2, axis=1)))
        step = 0.5 / trace if self.step == "constant" else 1 / (trace * math.sqrt(len(rows)))
        t, mean = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
        for i, (x, y) in enumerate(zip(rows, targets, strict=True), 1):
            t += step * (y - x @ t) * x
            mean += (t - mean) / i
        return mean
