"""TOFU: least squares with truncation in every coordinate, for heavy tails."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, GlmMethod, Problem


class Tofu(GlmMethod, name="tofu", label="TOFU", knowledge=("horizon", "moment_order", "moment_bound")):
    """Ridge regression written in the coordinates of V^-1/2, each of which drops the rounds whose share |u y| exceeds a growing level.

    Shao, Yu, King, Lyu (2018), "Almost optimal algorithms for linear stochastic bandits with heavy-tailed payoffs". Level (u / ln(2 T /
    delta))^(1/(1+eps)) t^((1-eps)/(2(1+eps))), radius c (4 sqrt d u^(1/(1+eps)) ln(2 d T / delta)^(eps/(1+eps)) t^(...) + sqrt lam), u the
    (1+eps)-th moment; published experiments divide the radius by 5. Every round looks at all earlier ones: linear rewards, short horizons.
    """

    c: float = Field(0.2, ge=0, le=1000, description="factor on the radius; 1 is the theory's")
    delta: float = Field(0.01, gt=0, lt=1, description="failure probability")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    links: ClassVar = ("identity",)
    longest: ClassVar = 20_000

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, float]:
        return {"c": 1.0}

    def policy(self) -> TofuPolicy:
        return TofuPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        facts = problem.facts
        return Compiled("tofu", (self.lam, self.c, facts["moment_order"], facts["moment_bound"], facts["horizon"], self.delta))


class TofuPolicy:
    def __init__(self, method: Tofu) -> None:
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        d, order, bound = problem.dimension, problem.facts["moment_order"], problem.facts["moment_bound"]
        logarithm = math.log(2 * problem.facts["horizon"] / self.method.delta)
        self.power, self.level = (2 - order) / (2 * order), (bound / logarithm) ** (1 / order)
        self.scale = 4 * math.sqrt(d) * bound ** (1 / order) * (logarithm + math.log(d)) ** ((order - 1) / order)
        self.gram, self.theta = self.method.lam * np.eye(d), np.zeros(d)
        self.rows: list[np.ndarray] = []
        self.rewards: list[float] = []

    @property
    def used(self) -> int:
        return len(self.rows)

    def act(self, contexts: np.ndarray) -> int:
        radius = self.method.c * (self.scale * (len(self.rows) + 1) ** self.power + math.sqrt(self.method.lam))
        widths = np.sqrt(np.einsum("ij,ji->i", contexts, np.linalg.solve(self.gram, contexts.T)))
        return first_argmax(contexts @ self.theta + radius * widths)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.rows.append(contexts[arm].copy())
        self.rewards.append(reward)
        self.gram += np.outer(contexts[arm], contexts[arm])
        values, vectors = np.linalg.eigh(self.gram)
        root = (vectors / np.sqrt(values)) @ vectors.T
        shares = root @ np.array(self.rows).T * np.array(self.rewards)
        shares[np.abs(shares) > self.level * len(self.rows) ** self.power] = 0
        self.theta = root @ shares.sum(axis=1)
