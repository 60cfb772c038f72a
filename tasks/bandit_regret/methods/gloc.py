"""GLOC: confidence sets from an online learner."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import first_argmax
from tasks.bandit_regret.newton import mu, project
from tasks.bandit_regret.protocol import Compiled, Draws, GlmMethod, Problem


class Gloc(GlmMethod, name="gloc", label="GLOC", knowledge=("norm_bound", "kappa")):
    """Ridge regression on the predictions x_s'theta_s of an online Newton learner; plays argmax x'centre + c |x|_{V^-1}.

    Jun, Bhargava, Nowak, Willett (2017), "Scalable generalized linear bandits: online computation and hashing".
    """

    c: float = Field(1.0, ge=0, le=1000, description="radius")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        """The published radius at the horizon, for rewards in [0, 1] and delta = .01, with the gradients' sum at its bound."""
        if "range" not in problem.facts:
            return "the published radius is for rewards in [0, 1]"
        d, kappa, norm = problem.dimension, problem.facts["kappa"], problem.facts["norm_bound"]
        b = 2 * kappa * norm**2 + d * math.log(1 + problem.facts["horizon"] / d) / kappa
        inner = math.log(200 * math.sqrt(1 + 2 * b / kappa + 4 * (norm / kappa) ** 4 * 1e4))
        return {"c": math.sqrt(1 + 4 * b / kappa + 8 * (norm / kappa) ** 2 * inner)}

    def policy(self) -> GlocPolicy:
        return GlocPolicy(self.c, self.lam)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("gloc", (self.lam, self.c, problem.facts["kappa"], problem.facts["norm_bound"]))


class GlocPolicy:
    def __init__(self, c: float, lam: float) -> None:
        self.c, self.lam = c, lam

    def reset(self, problem: Problem, draws: Draws) -> None:
        d = problem.dimension
        self.problem, self.used = problem, 0
        self.gram, self.theta, self.moments = self.lam * np.eye(d), np.zeros(d), np.zeros(d)

    def act(self, contexts: np.ndarray) -> int:
        widths = np.sqrt(np.einsum("ij,ji->i", contexts, np.linalg.solve(self.gram, contexts.T)))
        return first_argmax(contexts @ np.linalg.solve(self.gram, self.moments) + self.c * widths)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        x, facts = contexts[arm], self.problem.facts
        score = float(x @ self.theta)
        self.used += 1
        self.moments += score * x
        self.gram += np.outer(x, x)
        step = (mu(self.problem.link, score) - reward) / facts["kappa"] * np.linalg.solve(self.gram, x)
        self.theta = project(self.gram, self.theta - step, facts["norm_bound"], "gram")
