"""A fixed relaxation parameter: what users do."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.protocol import Draws, Problem, SolverMethod


class FixedOmega(SolverMethod, name="fixed-omega", label="fixed ω"):
    """Always the parameter of the grid nearest to `omega`; 1 is Gauss-Seidel."""

    omega: float = Field(1.0, ge=1, le=1.95, description="relaxation parameter")

    def policy(self) -> FixedPolicy:
        return FixedPolicy(self.omega)


class FixedPolicy:
    def __init__(self, omega: float) -> None:
        self.omega = omega

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.arm = round((self.omega - 1) / 0.95 * (problem.arms - 1))

    def act(self, contexts: np.ndarray) -> int:
        return self.arm

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        pass
