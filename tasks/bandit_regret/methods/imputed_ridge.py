"""Least squares and ridge regression on zero-imputed inputs."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.imputed_linear import ImputationMethod


class ImputedRidge(ImputationMethod, name="imputed-ridge", label="ridge on zeros"):
    """argmin |y - X t|^2 + lam n |t|^2 on the imputed rows; lam = 0 is least squares, of minimal norm where that is not unique."""

    lam: float = Field(0.0, ge=0, le=1e6, description="ridge parameter per row")

    def fit(self, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
        n, d = rows.shape
        if self.lam == 0:
            return np.linalg.lstsq(rows, targets, rcond=None)[0]
        if d <= n:
            return np.linalg.solve(rows.T @ rows + self.lam * n * np.eye(d), rows.T @ targets)
        return rows.T @ np.linalg.solve(rows @ rows.T + self.lam * n * np.eye(n), targets)
