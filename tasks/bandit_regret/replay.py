"""Off-policy evaluation: what would another policy have earned, from logged rounds."""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib.util
import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.regret import digest
from tasks.errors import InvalidParams, InvalidResult


@dataclass(frozen=True, slots=True)
class Log:
    """Rounds that a logging policy played, and the policy to evaluate."""

    contexts: np.ndarray  #: [n, d], the last column is 1
    actions: np.ndarray  #: int [n]
    rewards: np.ndarray  #: [n]
    propensities: np.ndarray  #: probability with which the logged action was taken [n]
    target: np.ndarray  #: probabilities of the policy to evaluate [n, actions]


class EstimatorMethod(Method, family="bandit_regret"):
    """An off-policy estimator."""

    @abstractmethod
    def estimate(self, log: Log) -> tuple[float, float]:
        """The target policy's mean reward and the standard error of that, from a log."""


class Replay(Task, family="bandit_regret", name="replay", label="off-policy replay", accepts=(EstimatorMethod,), seconds=0.5):
    """The value of the uniform policy from rounds that another policy played.

    `men`, `women`, `all`: campaigns of the small Open Bandit Dataset (Saito, Aihara, Matsutani, Narita 2021) as the package obp ships them,
    10,000 rows each: Thompson sampling's log is evaluated against the mean of the uniform policy's own log. A campaign has 38 to 69
    clicks, so the truth itself is uncertain by about 15 %: this checks estimators, it ranks nothing. `synthetic`: a softmax policy's log
    with logistic rewards, where the truth is known. Seeds resample rows with replacement, or draw a new problem.
    """

    check_params: ClassVar = {"rows": 200}

    source: Literal["synthetic", "men", "women", "all"] = Field("synthetic", description="where the log comes from")
    rows: int = Field(10_000, ge=10, le=10_000_000, description="rounds drawn from the log")
    actions: int = Field(10, ge=2, le=1000, description="actions (synthetic)")
    sharpness: float = Field(1.0, ge=0, le=10, description="how far the logging policy is from uniform (synthetic)")

    metrics = (
        Metric("relative_error", "ratio", "lower", "|estimate - truth| / truth", primary=True, low=0.0),
        Metric("estimate", "reward", "none", "estimated mean reward of the target policy"),
        Metric("standard_error", "reward", "lower", "standard error as the estimator states it", low=0.0),
        Metric("z_score", "ratio", "none", "(estimate - truth) / standard error, near N(0, 1) where the error is stated honestly"),
    )

    def data_fingerprint(self) -> str:
        return digest("off-policy log, generator 1") if self.source == "synthetic" else _fingerprint(self.source)

    def infeasible(self, method: Method) -> str | None:
        if self.source != "synthetic" and folder() is None:
            return f"The log {self.source} ships in the package obp: pip install obp (extra `replay`), or use source=synthetic."
        return method.infeasible()

    def log(self, seed: int) -> tuple[Log, float]:
        """One seed's log and the true value of the target policy."""
        random = self.streams(seed).numpy("data")
        if self.source == "synthetic":
            return self._synthetic(random)
        contexts, actions, rewards, propensities, truth = _campaign(self.source)
        rows = random.integers(len(actions), size=self.rows)
        arms = int(actions.max()) + 1
        target = np.full((self.rows, arms), 1 / arms)
        return Log(contexts[rows], actions[rows], rewards[rows], propensities[rows], target), truth

    def _synthetic(self, random: np.random.Generator) -> tuple[Log, float]:
        contexts = np.column_stack([random.standard_normal((self.rows, 4)), np.ones(self.rows)])
        weights = random.standard_normal((5, self.actions)) / math.sqrt(5)
        means = 1 / (1 + np.exp(1 - contexts @ weights))
        scores = np.exp(self.sharpness * contexts @ random.standard_normal((5, self.actions)) / math.sqrt(5))
        policy = scores / scores.sum(axis=1, keepdims=True)
        chosen = (policy.cumsum(axis=1)[:, :-1] < random.random((self.rows, 1))).sum(axis=1)
        rows = np.arange(self.rows)
        rewards = (random.random(self.rows) < means[rows, chosen]).astype(float)
        target = np.full_like(means, 1 / self.actions)
        return Log(contexts, chosen, rewards, policy[rows, chosen], target), float((target * means).sum(axis=1).mean())

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, EstimatorMethod)
        value, error = (float(number) for number in method.estimate(self.log(seed)[0]))
        _, truth = self.log(seed)  # made only now, so that an estimator finds none on the stack
        if not (math.isfinite(value) and math.isfinite(error) and error > 0):
            raise InvalidResult(f"estimate() returned {value} +- {error}; it must return a number and a positive standard error.")
        relative = abs(value - truth) / truth
        return Measured({"relative_error": relative, "estimate": value, "standard_error": error, "z_score": (value - truth) / error})


def folder() -> Path | None:
    """Where obp keeps the small Open Bandit Dataset; found without importing the package, which pulls in half a laboratory."""
    spec = importlib.util.find_spec("obp")
    places = [Path(place) / "dataset" / "obd" for place in (spec.submodule_search_locations or [])] if spec else []
    return next((place for place in places if place.is_dir()), None)


def _file(policy: str, campaign: str) -> Path:
    place = folder()
    if place is None:
        raise InvalidParams(f"The log {campaign} ships in the package obp: pip install obp (extra `replay`), or use source=synthetic.")
    return place / policy / campaign / f"{campaign}.csv"


@functools.cache
def _campaign(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Contexts (position in the list, one-hot), actions, clicks and propensities of Thompson sampling's log, and the uniform policy's mean
    click rate."""
    with _file("bts", name).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    with _file("random", name).open(newline="") as lines:
        truth = float(np.mean([float(row["click"]) for row in csv.DictReader(lines)]))
    positions = np.array([int(row["position"]) for row in rows])
    contexts = np.column_stack([positions == 1, positions == 2, np.ones(len(rows))]).astype(float)
    columns = [np.array([float(row[key]) for row in rows]) for key in ("item_id", "click", "propensity_score")]
    return contexts, columns[0].astype(int), columns[1], columns[2], truth


@functools.cache
def _fingerprint(name: str) -> str:
    if folder() is None:
        return digest(f"open bandit dataset, {name}, not installed")
    return hashlib.sha256(_file("bts", name).read_bytes() + _file("random", name).read_bytes()).hexdigest()
