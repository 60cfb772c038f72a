"""Follow the regularised leader against losses that may be arbitrarily negative (the key lemma of paper 14)."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Protocol

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.regret import digest
from tasks.errors import InvalidResult


class SimplexLearner(Protocol):
    """One run of a learner on the simplex with full information."""

    def reset(self, actions: int, eta: float) -> None:
        """Forget everything; a new run with the learning rate eta begins."""
        ...

    def distribution(self) -> np.ndarray:
        """Probabilities of the actions [actions] for the next round."""
        ...

    def update(self, losses: np.ndarray) -> None:
        """Learn the losses of all actions [actions]."""
        ...


class SimplexMethod(Method, family="bandit_regret"):
    """A learner on the simplex with a given learning rate. Third parties implement `learner`."""

    @abstractmethod
    def learner(self) -> SimplexLearner:
        """A fresh learner; `reset` is called before the first round."""


class NegativeLosses(Task, family="bandit_regret", name="negative-losses", label="negative losses", accepts=(SimplexMethod,), seconds=1.0):
    """Adversaries with losses down to -10^6; some look at the distribution, some starve an action before they reward it.

    Paper 14, "Refined regret for adversarial MDPs with linear function approximation", rests on an inequality for the logarithmic barrier:
    sum <x_t - u, l_t> <= K ln(T K) / eta + eta sum_t sum_i x_{t,i} l_{t,i}^2, for u any corner moved to the centre by 1/T, whatever the
    sign of the losses. `excess` is (regret - second sum) over the first term, the largest over the adversaries of a seed; the inequality
    holds where it is at most 1. The usual analysis of entropy needs losses above -1/eta.
    """

    check_params: ClassVar = {"horizon": 20, "adversaries": 3}

    actions: int = Field(4, ge=2, le=100, description="actions K")
    horizon: int = Field(200, ge=2, le=100_000, description="rounds T")
    eta: float = Field(0.1, gt=0, le=10, description="learning rate")
    adversaries: int = Field(50, ge=1, le=1000, description="adversaries per seed")

    metrics = (
        Metric("excess", "ratio", "lower", "(regret - eta sum x l^2) / (K ln(T K) / eta), the largest over adversaries", primary=True),
        Metric("violations", "adversaries", "lower", "adversaries for which it exceeds 1", low=0.0),
    )

    def data_fingerprint(self) -> str:
        return digest("adversaries with negative losses, generator 1")

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, SimplexMethod)
        random = self.streams(seed).numpy("data")
        excess = np.array([self._excess(method.learner(), random) for _ in range(self.adversaries)])
        return Measured({"excess": float(excess.max()), "violations": float((excess > 1).sum())})

    def _excess(self, learner: SimplexLearner, random: np.random.Generator) -> float:
        """One adversary: normal losses, and with some probability a reward of its size for one action, a random or the least likely one; or
        a drift that starves one action until half time, when that is rewarded once."""
        k, size, often, drift = self.actions, 10.0 ** random.uniform(0, 6), random.uniform(0, 0.3), 10.0 ** random.uniform(-1, 1)
        kind, victim = random.choice(["random", "least likely", "starved"]), int(random.integers(k))
        noise, coins, picks = random.standard_normal((self.horizon, k)), random.random(self.horizon), random.integers(k, size=self.horizon)
        learner.reset(k, self.eta)
        regret, penalty = np.zeros(k), 0.0
        for t in range(self.horizon):
            x = np.asarray(learner.distribution(), dtype=float)
            if x.shape != (k,) or not (x >= 0).all() or abs(x.sum() - 1) > 1e-6:
                raise InvalidResult(f"distribution() returned {x} in round {t + 1}; it must be {k} probabilities that sum to 1.")
            losses = noise[t].copy()
            if kind == "starved":
                losses[victim] += drift if t < self.horizon // 2 else 0.0
                losses[victim] -= size if t == self.horizon // 2 else 0.0
            elif coins[t] < often:
                losses[picks[t] if kind == "random" else x.argmin()] -= size
            regret += x @ losses - losses
            penalty += float(x @ losses**2)
            learner.update(losses.copy())
        smooth = (1 - 1 / self.horizon) * regret.max() + regret.mean() / self.horizon
        return float(smooth - self.eta * penalty) / (k * math.log(self.horizon * k) / self.eta)
