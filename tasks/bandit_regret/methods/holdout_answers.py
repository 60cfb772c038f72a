"""Answers to adaptive queries: the holdout itself, noise, and the reusable holdout."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.adaptive_holdout import HoldoutMethod


class NaiveHoldout(HoldoutMethod, name="naive-holdout", label="naive holdout"):
    """Answers with the mean on the holdout set."""

    def mechanism(self) -> NoisyMechanism:
        return NoisyMechanism(0.0)


class NoisyHoldout(HoldoutMethod, name="noisy-holdout", label="noisy answers", paper=213):
    """Answers with the mean on the holdout set plus Gaussian noise of standard deviation scale q^(1/4) / sqrt n after at most q queries.

    Paper 213, "Preserving statistical validity in adaptive data analysis": answers that are differentially private stay close to the truth
    under adaptive queries; noise of that order answers q of them to within it.
    """

    scale: float = Field(1.0, gt=0, le=1000, description="factor on the noise")

    def mechanism(self) -> NoisyMechanism:
        return NoisyMechanism(self.scale)


class NoisyMechanism:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def reset(self, n: int, queries: int, random: np.random.Generator) -> None:
        self.random, self.spread = random, self.scale * queries**0.25 / math.sqrt(n)

    def answer(self, train: float, holdout: float) -> float:
        return holdout + self.spread * float(self.random.standard_normal())


class Thresholdout(HoldoutMethod, name="thresholdout", label="Thresholdout", paper=213):
    """Answers with the training mean unless that is further than about a threshold from the holdout's, then with the latter plus noise.

    Dwork, Feldman, Hardt, Pitassi, Reingold, Roth (2015), "The reusable holdout", by the authors of paper 213: threshold 4 / sqrt n and
    Laplace noise of scale 1 / sqrt n times `scale`, the threshold with fresh noise after each answer from the holdout.
    """

    scale: float = Field(1.0, gt=0, le=1000, description="factor on threshold and noise")

    def mechanism(self) -> ThresholdMechanism:
        return ThresholdMechanism(self.scale)


class ThresholdMechanism:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def reset(self, n: int, queries: int, random: np.random.Generator) -> None:
        self.random, self.noise = random, self.scale / math.sqrt(n)
        self.threshold = 4 * self.noise + float(random.laplace(0, 2 * self.noise))

    def answer(self, train: float, holdout: float) -> float:
        if abs(holdout - train) <= self.threshold + float(self.random.laplace(0, 4 * self.noise)):
            return train
        self.threshold = 4 * self.noise + float(self.random.laplace(0, 2 * self.noise))
        return holdout + float(self.random.laplace(0, self.noise))
