"""ChebCB: a contextual bandit on Chebyshev features of the instance."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.methods.exp3 import choose
from tasks.bandit_regret.protocol import Draws, Problem, SolverMethod
from tasks.bandit_regret.solver_tuning import INTERVAL


class ChebCb(SolverMethod, name="chebcb", label="ChebCB", paper=74):
    """Per arm, box-constrained least squares of the scaled cost on Chebyshev polynomials of the context; actions by inverse gap weighting.

    Paper 74, "Learning to Relax: Setting Solver Parameters Across a Sequence of Linear System Instances", with the constants of its
    published code: the range of costs is estimated online, and all fits follow it.
    """

    degree: int = Field(5, ge=0, le=30, description="highest Chebyshev polynomial")

    def policy(self) -> ChebCbPolicy:
        return ChebCbPolicy(self.degree)


class ChebCbPolicy:
    def __init__(self, degree: int) -> None:
        self.degree = degree

    def reset(self, problem: Problem, draws: Draws) -> None:
        from kernels.bandits.relaxation import boxed_fits

        self._fit = boxed_fits
        n, arms = self.degree + 1, problem.arms
        self.draws, self.arms, self.round, self.largest = draws, arms, 0, 1.0
        self.grams, self.moments, self.squares = np.zeros((arms, n, n)), np.zeros((arms, n)), np.zeros(arms)
        self.thetas, self.errors = np.zeros((arms, n)), 0.0

    def _scales(self) -> tuple[float, np.ndarray, float]:
        """Scale of the costs, box of the coefficients, and the approximation error of the polynomials."""
        m, smooth = self.degree, self.largest  # (b - a) times the Lipschitz constant: the range of costs seen, from 0
        n = 2 + 4 * smooth / self.largest * (1 + math.log(max(m, 1)))
        scale = self.largest * n
        box = np.array([1 / n] + [2 * smooth / (scale * j) for j in range(1, m + 1)])
        alpha = (math.pi + 2 / math.pi * math.log(2 * m + 1)) * smooth / (2 * scale * (m + 1))
        return scale, box, alpha

    def act(self, contexts: np.ndarray) -> int:
        self.round += 1
        low, high = INTERVAL
        angle = math.acos(min(max(2 * (contexts[0, 0] - low) / (high - low) - 1, -1), 1))
        self.features = np.cos(np.arange(self.degree + 1) * angle)
        self.scale, box, alpha = self._scales()
        self._fit(self.grams, self.moments, self.scale, box, self.thetas)
        self.predictions = self.thetas @ self.features
        quadratic = np.einsum("ai,aij,aj->a", self.thetas, self.grams, self.thetas)
        residual = float(np.sum(quadratic - 2 * np.sum(self.thetas * self.moments, axis=1) / self.scale + self.squares / self.scale**2))
        t = self.round
        eta = 2 * t * math.sqrt(self.arms * t / max(self.errors / self.scale**2 - residual + 2 * alpha**2 * t, 1e-12))
        gaps = self.predictions - self.predictions.min()
        p = 1 / (self.arms + eta * gaps)
        best = int(gaps.argmin())
        p[best] = 0
        p[best] = 1 - p.sum()
        return choose(p, self.draws.uniform(t))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        cost = -reward - 1
        self.errors += (self.predictions[arm] * self.scale - cost) ** 2
        self.grams[arm] += np.outer(self.features, self.features)
        self.moments[arm] += cost * self.features
        self.squares[arm] += cost**2
        self.largest = max(self.largest, cost)
