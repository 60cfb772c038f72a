"""Linear regression with missing entries that are set to zero (paper 67)."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.regret import digest
from tasks.errors import InvalidResult


class ImputationMethod(Method, family="bandit_regret"):
    """Learns a linear predictor of y from features whose missing entries are 0."""

    @abstractmethod
    def fit(self, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Coefficients [d] from imputed rows [n, d] (in the order in which they came) and targets [n]."""


class ImputedLinear(
    Task, family="bandit_regret", name="imputed-linear", label="zero-imputed regression", accepts=(ImputationMethod,), seconds=0.2
):
    """y = x'theta + noise with x of rank `rank` in d dimensions; each entry of x is observed with probability `keep`, else it reads 0.

    The setting of paper 67, "Naive imputation implicitly regularizes high-dimensional linear models": predicting t on imputed inputs costs
    (theta - keep t)'S(theta - keep t) + keep (1 - keep) t'diag(S)t beyond the noise, in closed form, and the least of that over t, the
    imputation bias, falls like 1/d. x = U z with standard normal z and entries of U; y depends on z alone, so that d adds redundancy only.
    """

    check_params: ClassVar = {"d": 10, "n": 50}

    d: int = Field(200, ge=1, le=5000, description="dimension")
    n: int = Field(500, ge=2, le=100_000, description="training rows")
    rank: int = Field(5, ge=1, le=100, description="rank of the covariance")
    keep: float = Field(0.7, gt=0, le=1, description="probability that an entry is observed")
    noise: float = Field(0.5, ge=0, le=100, description="standard deviation of y's noise")

    metrics = (
        Metric("excess_risk", "squared error", "lower", "expected squared error on imputed inputs minus noise^2", primary=True, low=0.0),
        Metric("imputation_bias", "squared error", "none", "the least excess risk that any coefficients reach on imputed inputs", low=0.0),
        Metric("estimation_risk", "squared error", "lower", "excess risk minus the imputation bias"),
    )

    def data_fingerprint(self) -> str:
        return digest("low-rank regression with missing entries, generator 1")

    def infeasible(self, method: Method) -> str | None:
        if self.rank > self.d:
            return f"rank={self.rank} exceeds the dimension {self.d}."
        return method.infeasible()

    def world(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings U [d, rank], weights of z [rank], and theta [d] with x'theta = z'weights."""
        random = self.streams(seed).numpy("init")
        loadings = random.standard_normal((self.d, self.rank))
        weights = random.standard_normal(self.rank)
        weights /= np.linalg.norm(weights)
        return loadings, weights, loadings @ np.linalg.solve(loadings.T @ loadings, weights)

    def sample(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows [n, d] with 0 for what is missing, and targets [n]."""
        loadings, weights, _ = self.world(seed)
        random = self.streams(seed).numpy("data")
        hidden = random.standard_normal((self.n, self.rank))
        seen = random.random((self.n, self.d)) < self.keep
        targets = hidden @ weights + self.noise * self.streams(seed).numpy("noise").standard_normal(self.n)
        return np.where(seen, hidden @ loadings.T, 0.0), targets

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, ImputationMethod)
        t = np.asarray(method.fit(*self.sample(seed)), dtype=float)
        loadings, _, theta = self.world(seed)  # made only now, so that a method finds none on the stack
        if t.shape != (self.d,) or not np.isfinite(t).all():
            raise InvalidResult(f"fit() must return {self.d} finite coefficients; it returned shape {t.shape}.")
        risk = imputed_risk(t, theta, loadings, self.keep)
        bias = imputed_risk(best_coefficients(theta, loadings, self.keep), theta, loadings, self.keep)
        return Measured({"excess_risk": risk, "imputation_bias": bias, "estimation_risk": risk - bias})


def imputed_risk(t: np.ndarray, theta: np.ndarray, loadings: np.ndarray, keep: float) -> float:
    """(theta - keep t)'S(theta - keep t) + keep (1 - keep) t'diag(S)t with S = U U'."""
    off = loadings.T @ (theta - keep * t)
    return float(off @ off + keep * (1 - keep) * np.sum(t**2 * np.sum(loadings**2, axis=1)))


def best_coefficients(theta: np.ndarray, loadings: np.ndarray, keep: float) -> np.ndarray:
    """(keep S + (1 - keep) diag S)^-1 S theta, by Woodbury's identity in `rank` dimensions."""
    scale = loadings / ((1 - keep) * np.sum(loadings**2, axis=1))[:, None] if keep < 1 else None
    if scale is None:
        return theta
    core = np.eye(loadings.shape[1]) + keep * loadings.T @ scale
    return scale @ np.linalg.solve(core, loadings.T @ theta)
