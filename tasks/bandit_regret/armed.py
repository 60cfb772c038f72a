"""K arms without contexts: what the stochastic and the adversarial task share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from tasks.api import Context, Measured, Method, Task
from tasks.bandit_regret.protocol import ArmedMethod, Problem
from tasks.bandit_regret.referee import Play, checkpoints, play
from tasks.bandit_regret.regret import measured, told

if TYPE_CHECKING:
    from kernels.bandits.armed_environment import ArmedEnvironment


class ArmedTask(Task, family="bandit_regret"):
    """A task for `ArmedMethod`s with fields `arms` and `horizon`."""

    arms: int
    horizon: int

    @abstractmethod
    def environment(self, seed: int) -> ArmedEnvironment:
        """The environment of one seed: means, phases and the key of its noise."""

    @abstractmethod
    def facts(self) -> dict[str, float]:
        """Everything that methods may be told."""

    def infeasible(self, method: Method) -> str | None:
        if "range" in method.knowledge and "range" not in self.facts():
            return f"{method.label} needs rewards in [0, 1]; the rewards of this task are unbounded."
        for need in ("moment_order", "noise_scale"):
            if need in method.knowledge and need not in self.facts():
                return f"{method.label} must be told {need}, which this task can't give."
        return method.infeasible()

    def problem(self, method: Method) -> Problem:
        """What the method is told."""
        return Problem(self.arms, 0, True, told(method, self.facts()))

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        """One seed. Built-in methods run as compiled kernels, others round by round under the referee."""
        assert isinstance(method, ArmedMethod)
        rounds = checkpoints(self.horizon)
        return measured(rounds, lambda: self.play(method, seed, rounds))

    def play(self, method: ArmedMethod, seed: int, rounds: np.ndarray, reference: bool = False) -> Play:
        """Play one seed: compiled where the method names a kernel, unless `reference` asks for the readable policy."""
        problem, key = self.problem(method), self.streams(seed).integer("method")
        compiled = None if reference else method.compiled(problem)
        if compiled is None:
            return play(method.policy, problem, lambda decoy: _Rounds(self.environment(seed), decoy), key, rounds, True)
        from kernels.bandits.armed import KERNELS

        curve = np.empty(len(rounds))
        params = np.array(compiled.params, dtype=np.float64)
        used = KERNELS[compiled.kernel](self.environment(seed), params, key, rounds, curve, np.empty(0, np.int64))
        return Play(curve, np.empty(0, np.int64), int(used))


class _Rounds:
    """The environment as the referee drives it, on the same compiled functions as the kernels."""

    def __init__(self, environment: ArmedEnvironment, decoy: bool = False) -> None:
        from kernels.bandits import armed_environment as world

        if decoy:
            environment = environment._replace(means=np.ascontiguousarray(environment.means[:, ::-1]) * 0.5)
        self._draw, self._world = world.draw, environment
        self._contexts = np.empty((environment.means.shape[1], 0))

    def _side(self, round_: int) -> int:
        return int(np.searchsorted(self._world.ends, round_)) % 2

    def contexts(self, round_: int) -> np.ndarray:
        return self._contexts

    def means(self, round_: int) -> np.ndarray:
        return self._world.means[self._side(round_)]

    def reward(self, round_: int, arm: int) -> float:
        world = self._world
        return float(self._draw(world.law, world.means[self._side(round_), arm], world.scale, world.tail, world.noise_key, round_))
