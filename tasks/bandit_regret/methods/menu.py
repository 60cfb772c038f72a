"""MENU: the median of several least-squares estimates, for heavy tails."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import first_argmax
from tasks.bandit_regret.protocol import Compiled, Draws, GlmMethod, Problem


class Menu(GlmMethod, name="menu", label="MENU", knowledge=("moment_order", "central_moment_bound")):
    """Plays an arm `plays` times in a row; the j-th rewards make the j-th ridge estimate, and the one nearest to the others acts.

    Shao, Yu, King, Lyu (2018), "Almost optimal algorithms for linear stochastic bandits with heavy-tailed payoffs". Nearest: the smallest
    median distance in the norm of V. The radius after n - 1 epochs is c (3 (9 d v)^(1/(1+eps)) n^((1-eps)/(2(1+eps))) + 3 sqrt lam), v the
    central (1+eps)-th moment; published experiments divide it by 50. Linear rewards only; regret is charged for every play.
    """

    c: float = Field(0.02, ge=0, le=1000, description="factor on the radius; 1 is the theory's")
    plays: int = Field(11, ge=1, le=1000, description="plays per epoch; the theory's 24 + 24 ln(T / delta) is some thirty times as many")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    links: ClassVar = ("identity",)

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, float]:
        return {"c": 1.0}

    def policy(self) -> MenuPolicy:
        return MenuPolicy(self)

    def compiled(self, problem: Problem) -> Compiled:
        facts = problem.facts
        return Compiled("menu", (self.lam, self.c, float(self.plays), facts["moment_order"], facts["central_moment_bound"]))


class MenuPolicy:
    def __init__(self, method: Menu) -> None:
        self.method = method

    def reset(self, problem: Problem, draws: Draws) -> None:
        d, order = problem.dimension, problem.facts["moment_order"]
        self.gram, self.moments = self.method.lam * np.eye(d), np.zeros((self.method.plays, d))
        self.scale, self.power = 3 * (9 * d * problem.facts["central_moment_bound"]) ** (1 / order), (2 - order) / (2 * order)
        self.theta, self.epoch = np.zeros(d), 0
        self.rewards: list[float] = []

    @property
    def used(self) -> int:
        return self.epoch * self.method.plays

    def act(self, contexts: np.ndarray) -> int:
        if not self.rewards:
            radius = self.method.c * (self.scale * (self.epoch + 1) ** self.power + 3 * math.sqrt(self.method.lam))
            widths = np.sqrt(np.einsum("ij,ji->i", contexts, np.linalg.solve(self.gram, contexts.T)))
            self.arm = first_argmax(contexts @ self.theta + radius * widths)
        return self.arm

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.rewards.append(reward)
        if len(self.rewards) < self.method.plays:
            return
        self.epoch += 1
        self.gram += np.outer(contexts[arm], contexts[arm])
        self.moments += np.outer(self.rewards, contexts[arm])
        self.rewards = []
        thetas = np.linalg.solve(self.gram, self.moments.T).T
        apart = thetas[:, None] - thetas[None]
        distances = np.einsum("ijk,kl,ijl->ij", apart, self.gram, apart)
        self.theta = thetas[int(np.argmin(np.median(distances, axis=1)))]
