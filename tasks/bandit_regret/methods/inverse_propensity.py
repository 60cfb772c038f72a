"""Inverse propensity weighting, plain and self-normalised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field

from tasks.bandit_regret.replay import EstimatorMethod, Log


class Ips(EstimatorMethod, name="ips", label="IPS"):
    """Mean of w r with w = target probability / propensity, w clipped. Horvitz and Thompson (1952); unbiased without clipping."""

    clip: float = Field(1e9, gt=0, description="largest weight")

    @classmethod
    def theory(cls) -> dict[str, Any]:
        """No clipping: what is unbiased."""
        return {}

    def estimate(self, log: Log) -> tuple[float, float]:
        values = np.minimum(weights(log), self.clip) * log.rewards
        return float(values.mean()), standard_error(values)


class Snips(EstimatorMethod, name="snips", label="SNIPS"):
    """sum w r / sum w: bounded by the rewards, biased by O(1/n). Swaminathan and Joachims (2015)."""

    def estimate(self, log: Log) -> tuple[float, float]:
        w = weights(log)
        value = float(w @ log.rewards / w.sum())
        return value, standard_error(w * (log.rewards - value) / w.mean())


def weights(log: Log) -> np.ndarray:
    """Target probability of each logged action over its propensity [n]."""
    return log.target[np.arange(len(log.actions)), log.actions] / log.propensities


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean, at least 1e-12."""
    return max(float(values.std(ddof=1)) / math.sqrt(len(values)), 1e-12)
