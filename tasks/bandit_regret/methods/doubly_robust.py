"""Reward models for off-policy evaluation: the direct method and doubly robust estimation."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.methods.inverse_propensity import standard_error, weights
from tasks.bandit_regret.replay import EstimatorMethod, Log


class DirectMethod(EstimatorMethod, name="direct", label="direct method"):
    """Mean of the target's expected reward under a ridge model per action; biased where the model is wrong."""

    lam: float = Field(10.0, gt=0, description="ridge parameter")

    def estimate(self, log: Log) -> tuple[float, float]:
        values = (log.target * predicted(log, self.lam)).sum(axis=1)
        return float(values.mean()), standard_error(values)


class DoublyRobust(EstimatorMethod, name="doubly-robust", label="doubly robust"):
    """The direct method plus IPS on what its model leaves over: unbiased if either is right. Dudik, Langford, Li (2011)."""

    lam: float = Field(10.0, gt=0, description="ridge parameter")

    def estimate(self, log: Log) -> tuple[float, float]:
        model = predicted(log, self.lam)
        left = log.rewards - model[np.arange(len(log.actions)), log.actions]
        values = (log.target * model).sum(axis=1) + weights(log) * left
        return float(values.mean()), standard_error(values)


def predicted(log: Log, lam: float) -> np.ndarray:
    """Expected reward of every action [n, actions], from ridge regression per action towards the mean reward, fitted on the other half."""
    n, actions = log.target.shape
    out = np.empty((n, actions))
    for half in (0, 1):
        fit, use = np.arange(n) % 2 != half, np.arange(n) % 2 == half
        mean = log.rewards[fit].mean()
        for a in range(actions):
            rows = fit & (log.actions == a)
            x = log.contexts[rows]
            theta = np.linalg.solve(x.T @ x + lam * np.eye(x.shape[1]), x.T @ (log.rewards[rows] - mean))
            out[use, a] = mean + log.contexts[use] @ theta
    return out
