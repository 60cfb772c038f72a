"""Classification as a bandit: real data sets, where only right or wrong is told."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.protocol import ClassifierMethod, Problem
from tasks.bandit_regret.referee import Play, checkpoints, play
from tasks.bandit_regret.regret import REGRET_METRICS, measured, told

if TYPE_CHECKING:
    from kernels.bandits.classification import LabelEnvironment


class Classification(
    Task,
    family="bandit_regret",
    name="classification",
    label="classification bandit",
    accepts=(ClassifierMethod,),
    seeds_together=True,
    seconds=0.2,
):
    """One pass over scikit-learn's digits, wine or breast cancer in a random order; the arms are the classes, the reward is 1 for the right
    one. The truth is known, so regret (the number of errors) is exact. Columns are standardised, a constant is added, and rows are divided
    by the root of their length. `error_rate` is the online error.
    """

    check_params: ClassVar = {"data": "wine", "rounds": 40}

    data: Literal["digits", "wine", "breast_cancer"] = Field("digits", description="1797 x 64, 10 classes; 178 x 13, 3; 569 x 30, 2")
    rounds: int | None = Field(None, ge=10, description="examples used; null: all")

    metrics = (*REGRET_METRICS, Metric("error_rate", "fraction", "lower", "errors over rounds", low=0.0, high=1.0))

    @property
    def horizon(self) -> int:
        return min(self.rounds or 10**9, len(_data(self.data)[1]))

    def data_fingerprint(self) -> str:
        return _digest(self.data)

    def problem(self, method: Method) -> Problem:
        """What the method is told."""
        rows, labels = _data(self.data)
        facts = {"horizon": self.horizon, "range": 1.0, "noise_scale": 0.5}
        return Problem(int(labels.max()) + 1, rows.shape[1], False, told(method, facts))

    def environment(self, seed: int) -> LabelEnvironment:
        """The examples of one seed, in their order."""
        from kernels.bandits.classification import LabelEnvironment

        rows, labels = _data(self.data)
        order = self.streams(seed).numpy("order").permutation(len(labels))[: self.horizon]
        return LabelEnvironment(np.ascontiguousarray(rows[order]), labels[order], int(labels.max()) + 1)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, ClassifierMethod)
        rounds = checkpoints(self.horizon)
        result = measured(rounds, lambda: self.play(method, seed, rounds))
        return Measured({**result.metrics, "error_rate": result.metrics["regret"] / self.horizon}, result.curves, result.info)

    def play(self, method: ClassifierMethod, seed: int, rounds: np.ndarray, reference: bool = False) -> Play:
        """Play one seed: compiled where the method names a kernel, unless `reference` asks for the readable policy."""
        problem, key = self.problem(method), self.streams(seed).integer("method")
        compiled = None if reference else method.compiled(problem)
        if compiled is None:
            return play(method.policy, problem, lambda decoy: _Examples(self.environment(seed), decoy), key, rounds)
        from kernels.bandits.classification import KERNELS

        curve = np.empty(len(rounds))
        params = np.array(compiled.params, dtype=np.float64)
        used = KERNELS[compiled.kernel](self.environment(seed), params, key, rounds, curve, np.empty(0, np.int64))
        return Play(curve, np.empty(0, np.int64), int(used))


class _Examples:
    """The examples as the referee drives them."""

    def __init__(self, environment: LabelEnvironment, decoy: bool) -> None:
        self._rows, self._labels, self._classes = environment
        if decoy:
            self._labels = (self._labels + 1) % self._classes

    def contexts(self, round_: int) -> np.ndarray:
        return np.repeat(self._rows[round_ - 1][None], self._classes, axis=0)

    def means(self, round_: int) -> np.ndarray:
        return (np.arange(self._classes) == self._labels[round_ - 1]).astype(float)

    def reward(self, round_: int, arm: int) -> float:
        return float(arm == self._labels[round_ - 1])


@functools.cache
def _data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, d] and labels [n]."""
    from sklearn import datasets

    loaders: dict[str, Any] = {"digits": datasets.load_digits, "wine": datasets.load_wine, "breast_cancer": datasets.load_breast_cancer}
    rows, labels = loaders[name](return_X_y=True)
    rows = rows[:, rows.std(axis=0) > 0]
    rows = np.column_stack([(rows - rows.mean(axis=0)) / rows.std(axis=0), np.ones(len(rows))])
    return rows / np.sqrt(rows.shape[1]), labels.astype(np.int64)


@functools.cache
def _digest(name: str) -> str:
    rows, labels = _data(name)
    return hashlib.sha256(np.round(np.column_stack([rows, labels]), 9).tobytes()).hexdigest()
