"""Sparse linear bandits that are misspecified by design: what sparsity is worth (paper 97)."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.contextual import unit
from tasks.bandit_regret.protocol import ActionMethod, Problem
from tasks.bandit_regret.referee import identify
from tasks.bandit_regret.regret import digest, told
from tasks.errors import InvalidParams


class SparseMisspecified(
    Task,
    family="bandit_regret",
    name="sparse-misspecified",
    label="sparse misspecified search",
    accepts=(ActionMethod,),
    seconds=1.0,
):
    """Find a good action with few noiseless queries: r(a) = a'theta + xi(a), theta s-sparse, |xi| <= eps chosen against the learner.

    The setting of paper 97, "Does Sparsity Help in Learning Misspecified Linear Bandits?": actions are random unit vectors, the best decile
    of a'theta is hidden by -eps and the rest flattered by +eps. Contexts [arms, d] are the actions; the last round is followed by one
    recommendation. The metric is the reward lost by it, in units of eps.
    """

    check_params: ClassVar = {"d": 6, "sparsity": 1, "actions": 60, "budget": 20}

    d: int = Field(20, ge=2, le=200, description="dimension")
    sparsity: int = Field(2, ge=1, le=3, description="nonzeros s of theta")
    actions: int = Field(2000, ge=2, le=20_000, description="number of actions")
    eps: float = Field(0.1, gt=0, le=1, description="misspecification")
    budget: int = Field(50, ge=1, le=10_000, description="queries")

    metrics = (
        Metric("suboptimality", "eps", "lower", "best reward minus the recommended action's, over eps", primary=True, low=0.0),
        Metric("queries", "queries", "lower", "queries until the policy stopped learning; the budget where it doesn't say", low=0.0),
    )

    def data_fingerprint(self) -> str:
        return digest("sparse misspecified actions, generator 1")

    def infeasible(self, method: Method) -> str | None:
        if self.sparsity > self.d:
            return f"sparsity={self.sparsity} exceeds the dimension {self.d}."
        hypotheses = math.comb(self.d, self.sparsity) * (math.sqrt(self.sparsity) / self.eps + 1) ** self.sparsity
        if "sparsity" in method.knowledge and hypotheses * self.actions > 5e9:
            return (
                f"About {hypotheses:.1g} hypotheses times {self.actions} actions are too many; raise eps or lower d, sparsity or actions."
            )
        return method.infeasible()

    def problem(self, method: Method) -> Problem:
        """What the method is told; the budget is part of the problem."""
        facts = {"misspecification": self.eps, "sparsity": self.sparsity, "norm_bound": 1.0}
        return Problem(self.actions, self.d, True, {**told(method, facts), "horizon": self.budget})

    def world(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Actions [arms, d], their linear rewards a'theta [arms] and their rewards [arms]."""
        random = self.streams(seed).numpy("data")
        features = unit(random.standard_normal((self.actions, self.d)))
        theta = np.zeros(self.d)
        theta[random.choice(self.d, self.sparsity, replace=False)] = unit(random.standard_normal((1, self.sparsity)))[0]
        linear = features @ theta
        hidden = linear >= np.sort(linear)[-math.ceil(self.actions / 10)]
        return features, linear, linear + np.where(hidden, -self.eps, self.eps)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, ActionMethod)
        if sentence := self.infeasible(method):
            raise InvalidParams(sentence)

        def world(decoy: bool) -> _Actions:
            features, _, rewards = self.world(seed)  # made anew, so that nobody finds the real ones once the environment is gone
            return _Actions(features, -rewards if decoy else rewards)

        arm, played = identify(method.policy, self.problem(method), world, self.streams(seed).integer("method"))
        rewards = self.world(seed)[2]
        lost = float(rewards.max() - rewards[arm]) / self.eps
        return Measured({"suboptimality": lost, "queries": float(self.budget if played.used is None else played.used)})


class _Actions:
    """The environment as the referee drives it: rewards without noise."""

    def __init__(self, features: np.ndarray, rewards: np.ndarray) -> None:
        self._features, self._rewards = features, rewards

    def contexts(self, round_: int) -> np.ndarray:
        return self._features

    def means(self, round_: int) -> np.ndarray:
        return self._rewards

    def reward(self, round_: int, arm: int) -> float:
        return float(self._rewards[arm])
