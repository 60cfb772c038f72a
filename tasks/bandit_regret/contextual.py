"""What every linear bandit task shares: how a seed is played, compiled or round by round."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.api import Context, Measured, Method, Task
from tasks.bandit_regret.protocol import LinearMethod, Problem
from tasks.bandit_regret.referee import Play, checkpoints, play
from tasks.bandit_regret.regret import measured, told
from tasks.errors import InvalidParams

if TYPE_CHECKING:
    from kernels.bandits.linear_environment import LinearEnvironment


class LinearTask(Task, family="bandit_regret"):
    """A task for `LinearMethod`s with fields `d`, `arms`, `horizon` and `arm_set`."""

    d: int
    arms: int
    horizon: int
    arm_set: str

    @abstractmethod
    def environment(self, seed: int) -> LinearEnvironment:
        """The environment of one seed: arms, means and the keys of its random numbers."""

    def infeasible(self, method: Method) -> str | None:
        if "noise_scale_per_round" in method.knowledge and "noise_scale_per_round" not in self.facts():
            return f"{method.label} must be told each round's noise, which {self.id()} does not reveal; use bandit_regret/heteroscedastic."
        return method.infeasible()

    @abstractmethod
    def facts(self) -> dict[str, float]:
        """Everything that methods may be told."""

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        """One seed. Built-in methods run as compiled kernels, others round by round under the referee."""
        assert isinstance(method, LinearMethod)
        if sentence := self.infeasible(method):
            raise InvalidParams(sentence)
        rounds = checkpoints(self.horizon)
        return measured(rounds, lambda: self.play(method, seed, rounds))

    def problem(self, method: Method) -> Problem:
        """What the method is told."""
        return Problem(self.arms, self.d, self.arm_set == "fixed", told(method, self.facts()))

    def play(self, method: LinearMethod, seed: int, rounds: np.ndarray, reference: bool = False) -> Play:
        """Play one seed: compiled where the method names a kernel, unless `reference` asks for the readable policy."""
        problem, key = self.problem(method), self.streams(seed).integer("method")
        compiled = None if reference else method.compiled(problem)
        if compiled is None:
            if "noise_scale_per_round" in problem.facts:
                problem = replace(problem, noise_at=self._noise(seed))
            return play(method.policy, problem, lambda decoy: _Rounds(self.environment(seed), decoy), key, rounds)
        from kernels.bandits.linear import KERNELS

        curve = np.empty(len(rounds))
        params = np.array(compiled.params, dtype=np.float64)
        used = KERNELS[compiled.kernel](self.environment(seed), params, key, rounds, curve, np.empty(0, np.int64))
        return Play(curve, np.empty(0, np.int64), int(used))

    def _noise(self, seed: int) -> Callable[[int], float]:
        from kernels.bandits.linear_environment import noise_scale

        # An environment without means or keys to the contexts: policies can reach it through the function.
        bare = self.environment(seed)
        bare = bare._replace(theta=0 * bare.theta, means=0 * bare.means, features=0 * bare.features, data_key=0)
        return lambda round_: float(noise_scale(bare, round_))


class _Rounds:
    """The environment as the referee drives it, on the same compiled functions as the kernels."""

    def __init__(self, environment: LinearEnvironment, decoy: bool = False) -> None:
        from kernels.bandits import linear_environment as world

        if decoy:
            environment = environment._replace(
                theta=-environment.theta, means=-environment.means, zeta=-environment.zeta, threshold=math.inf
            )
        self._begin, self._reward, self._world = world.begin_round, world.reward, environment
        self._features, self._means = environment.features.copy(), environment.means.copy()
        self._round = 0

    def _advance(self, round_: int) -> None:
        if round_ != self._round:
            self._begin(self._world, round_, self._features, self._means)
            self._round = round_

    def contexts(self, round_: int) -> np.ndarray:
        self._advance(round_)
        return np.ascontiguousarray(self._features.T)

    def means(self, round_: int) -> np.ndarray:
        self._advance(round_)
        return self._means.copy()

    def reward(self, round_: int, arm: int) -> float:
        self._advance(round_)
        return float(self._reward(self._world, round_, self._means[arm]))


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows scaled to Euclidean norm 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
