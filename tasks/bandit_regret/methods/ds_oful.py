"""DS-OFUL: OFUL that learns only from rounds whose arm is still uncertain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import TIE, Ridge, first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, LinearMethod, Problem


class DsOful(LinearMethod, name="ds-oful", label="DS-OFUL", paper=144, knowledge=("gap",)):
    """Plays argmax x'theta + beta |x|_{U^-1}, and adds the round to the regression only if |x|_{U^-1} >= gamma before the update.

    Paper 144, "On the Interplay Between Misspecification and Sub-optimality Gap in Linear Contextual Bandits": with gamma about
    Delta / sqrt(d) the regret stops growing even when the model is off by zeta, up to a phase transition. gamma = 0 is OFUL. The gap is
    declared as knowledge because gamma is chosen from it.
    """

    gamma: float = Field(0.05, ge=0, le=10, description="uncertainty threshold; Delta / sqrt(d) = .045 for Delta = .18, d = 16")
    beta: float = Field(3.0, ge=0, le=1000, description="radius")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        """With R the noise scale, B = L = 1 and delta = .01: gamma = Delta / (2 sqrt d i1), i1 = (24 + 18 R) ln((72 + 54 R) sqrt d / Delta)
        + sqrt(8 R^2 ln(1/delta)); beta = 1 + 4 sqrt(d i2) + R sqrt(2 d i3), i2 = ln(3 / gamma), i3 = ln((1 + 16 i2 / gamma^2) / delta)."""
        if "gap" not in problem.facts:
            return "its threshold needs a gap"
        d, gap, noise = problem.dimension, problem.facts["gap"], problem.facts["noise_scale"]
        i1 = (24 + 18 * noise) * math.log((72 + 54 * noise) * math.sqrt(d) / gap) + math.sqrt(8 * noise**2 * math.log(100))
        gamma = gap / (2 * math.sqrt(d) * i1)
        i2 = math.log(3 / gamma)
        i3 = math.log((1 + 16 * i2 / gamma**2) * 100)
        return {"gamma": gamma, "beta": 1 + 4 * math.sqrt(d * i2) + noise * math.sqrt(2 * d * i3)}

    def policy(self) -> DsOfulPolicy:
        return DsOfulPolicy(self.gamma, self.beta, self.lam)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("oful", (self.lam, self.beta, self.gamma, 0.0, 0.01, 1.0, 1.0))


class DsOfulPolicy:
    def __init__(self, gamma: float, beta: float, lam: float) -> None:
        self.gamma, self.beta, self.lam = gamma, beta, lam

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.ridge = Ridge(problem.dimension, self.lam)

    @property
    def used(self) -> int:
        return self.ridge.count

    def act(self, contexts: np.ndarray) -> int:
        return first_argmax(contexts @ self.ridge.theta + self.beta * self.ridge.widths(contexts))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        if self.ridge.widths(contexts[arm : arm + 1])[0] >= self.gamma - TIE:
            self.ridge.add(contexts[arm], reward)
