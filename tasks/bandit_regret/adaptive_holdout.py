"""An analyst who asks a holdout set again and again (paper 213)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import Field

from tasks.api import BoardSplit, Context, Measured, Method, Metric, Task
from tasks.bandit_regret.regret import digest
from tasks.errors import InvalidResult


class Mechanism(Protocol):
    """Answers the analyst's queries, each the mean of a function with values in [-1, 1]."""

    def reset(self, n: int, queries: int, random: np.random.Generator) -> None:
        """A new analyst comes: holdout size n, at most `queries` queries, and the mechanism's own random numbers."""
        ...

    def answer(self, train: float, holdout: float) -> float:
        """The answer to a query whose mean is `train` on the training set, which the analyst has, and `holdout` on the holdout set."""
        ...


class HoldoutMethod(Method, family="bandit_regret"):
    """A rule for answering adaptive queries. Third parties implement `mechanism`."""

    @abstractmethod
    def mechanism(self) -> Mechanism:
        """A fresh mechanism; `reset` is called before the first query."""

    @classmethod
    def theory(cls) -> dict[str, Any]:
        """Parameters with the constants of the paper's theory; {} where the defaults are these."""
        return {}


class AdaptiveHoldout(
    Task, family="bandit_regret", name="adaptive-holdout", label="adaptive analyst", accepts=(HoldoutMethod,), seconds=0.5
):
    """How far a score on a reused holdout set lies above the truth, when an analyst selects features by asking it.

    Paper 213, "Preserving statistical validity in adaptive data analysis". The analyst asks for the correlation of each of d features with
    the labels (+-1), keeps those whose training and answered correlations have the same sign and reach 1 / sqrt n, votes with their signs,
    and asks for the accuracy of that. `signal` features agree with the label with probability .5 + strength / 2, the others are coins.
    """

    check_params: ClassVar = {"n": 100, "features": 30}

    n: int = Field(2000, ge=10, le=1_000_000, description="examples in the training and in the holdout set each")
    features: int = Field(2000, ge=1, le=100_000, description="features d")
    signal: int = Field(0, ge=0, description="informative features")
    strength: float = Field(0.06, ge=0, le=1, description="correlation of an informative feature with the label")
    fresh: int = Field(10_000, ge=100, le=10_000_000, description="fresh examples that measure the truth")

    metrics = (
        Metric("overfitting", "accuracy", "lower", "|answered accuracy - accuracy on fresh examples|", primary=True, low=0.0),
        Metric("bias", "accuracy", "none", "answered accuracy - accuracy on fresh examples"),
        Metric("fresh_accuracy", "fraction", "higher", "accuracy on fresh examples", low=0.0, high=1.0),
    )

    def data_fingerprint(self) -> str:
        return digest("adaptive analyst, generator 1")

    def infeasible(self, method: Method) -> str | None:
        if self.signal > self.features:
            return f"signal={self.signal} exceeds the {self.features} features."
        return method.infeasible()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, HoldoutMethod)
        random = self.streams(seed).numpy("data")
        (train, train_labels), (holdout, labels), (fresh, truth) = (self._draw(random, n) for n in (self.n, self.n, self.fresh))
        mechanism = method.mechanism()
        mechanism.reset(self.n, self.features + 1, self.streams(seed).numpy("method"))
        known, hidden = train_labels @ train / self.n, labels @ holdout / self.n
        answers = np.array([self._checked(mechanism.answer(a, b)) for a, b in zip(known.tolist(), hidden.tolist(), strict=True)])
        least = 1 / np.sqrt(self.n)
        votes = np.sign(answers) * ((np.sign(known) == np.sign(answers)) & (np.abs(known) >= least) & (np.abs(answers) >= least))

        def agreement(features: np.ndarray, target: np.ndarray) -> float:
            return float(np.mean(target * np.where(features @ votes >= 0, 1, -1)))

        answered = self._checked(mechanism.answer(agreement(train, train_labels), agreement(holdout, labels)))
        bias = (answered - agreement(fresh, truth)) / 2
        return Measured({"overfitting": abs(bias), "bias": bias, "fresh_accuracy": (agreement(fresh, truth) + 1) / 2})

    def board_split(self, random: np.random.Generator) -> BoardSplit:
        """The analyst's training and holdout sets: features -1 or 1, labels 0 or 1. Without `signal` the labels are fair coins."""
        (train, train_labels), (holdout, labels) = (self._draw(random, self.n) for _ in range(2))
        return BoardSplit(
            train.astype(np.int8), (train_labels > 0).astype(np.int64), holdout.astype(np.int8), (labels > 0).astype(np.int64)
        )

    def _draw(self, random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Features [n, d] and labels [n], all +-1 as float32."""
        labels = np.where(random.random(n) < 0.5, 1, -1).astype(np.float32)
        features = np.where(random.random((n, self.features), dtype=np.float32) < 0.5, 1, -1).astype(np.float32)
        if self.signal:
            agree = random.random((n, self.signal)) < (1 + self.strength) / 2
            features[:, : self.signal] = np.where(agree, labels[:, None], -labels[:, None])
        return features, labels

    def _checked(self, answer: float) -> float:
        if not np.isfinite(answer):
            raise InvalidResult(f"answer() returned {answer!r}; it must return a number.")
        return float(answer)
