"""OFUL / LinUCB: optimism with a ridge estimate and its confidence ellipsoid."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import Ridge, first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, LinearMethod, Problem


class Oful(LinearMethod, name="oful", label="OFUL / LinUCB", knowledge=("noise_scale", "norm_bound")):
    """Plays argmax x'theta + radius |x|_{V^-1} with theta the ridge estimate and V = lam I + sum x x'.

    Abbasi-Yadkori, Pal, Szepesvari (2011), "Improved algorithms for linear stochastic bandits". `radius="flat"` (LinUCB) uses `beta` as it
    stands and is what experiments report; `radius="confidence"` multiplies `beta` into the self-normalised radius
    R sqrt(2 ln(1/delta) + ln det V/det(lam I)) + sqrt(lam) S. Noise scale R and norm bound S are used by the latter only.
    """

    beta: float = Field(3.0, ge=0, le=1000, description="radius, or factor on the confidence radius")
    radius: Literal["flat", "confidence"] = Field("flat", description="flat: beta; confidence: beta times the self-normalised radius")
    delta: float = Field(0.01, gt=0, lt=1, description="failure probability of the confidence radius")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any]:
        return {"radius": "confidence", "beta": 1.0}

    def policy(self) -> OfulPolicy:
        return OfulPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        facts = problem.facts
        confidence = float(self.radius == "confidence")
        return Compiled("oful", (self.lam, self.beta, 0.0, confidence, self.delta, facts["noise_scale"], facts["norm_bound"]))


class OfulPolicy:
    def __init__(self, method: Oful) -> None:
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.facts = problem.facts
        self.ridge = Ridge(problem.dimension, self.method.lam)

    @property
    def used(self) -> int:
        return self.ridge.count

    def radius(self) -> float:
        method = self.method
        if method.radius == "flat":
            return method.beta
        ellipsoid = self.facts["noise_scale"] * math.sqrt(2 * math.log(1 / method.delta) + self.ridge.log_det_ratio())
        return method.beta * (ellipsoid + math.sqrt(method.lam) * self.facts["norm_bound"])

    def act(self, contexts: np.ndarray) -> int:
        return first_argmax(contexts @ self.ridge.theta + self.radius() * self.ridge.widths(contexts))

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.ridge.add(contexts[arm], reward)
