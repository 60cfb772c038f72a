"""Choosing the relaxation parameter of a linear solver, instance after instance (paper 74)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Fixture, Measured, Method, Metric, Task
from tasks.bandit_regret.protocol import Problem, SolverMethod
from tasks.bandit_regret.referee import checkpoints, play
from tasks.bandit_regret.regret import digest, told
from tasks.streams import Streams

#: Stopping rule of the solver, and the cost of an instance it does not solve.
TOLERANCE, CAP = 1e-8, 10_000
#: Shifts c = -.15 + .6 Beta(a, b), and the interval that holds them.
LAWS = {"high_variance": (0.5, 1.5), "low_variance": (2.0, 6.0)}
INTERVAL = (-0.15, 0.45)


class SweepTable(Fixture, name="bandit-sor-sweeps", seconds=8.0):
    """Iterations of SOR for every instance and every relaxation parameter of the grid, plus the optimal parameter in the last column."""

    law: Literal["high_variance", "low_variance"]
    grid: int
    omegas: int
    horizon: int
    seed: int

    def build(self, folder: Path, context: Context) -> None:
        from kernels.bandits.relaxation import sweep_table, sweeps

        streams = Streams("bandit_regret/solver-tuning", self.seed)
        shifts = INTERVAL[0] + 0.6 * streams.numpy("data").beta(*LAWS[self.law], size=self.horizon)
        rhs = _truncated_normals(streams.numpy("noise"), self.horizon, self.grid**2)
        table = np.empty((self.horizon, self.omegas + 1), np.int32)
        sweep_table(self.grid, shifts, rhs, np.linspace(1, 1.95, self.omegas), TOLERANCE, CAP, table[:, :-1])
        for t, shift in enumerate(shifts):
            table[t, -1] = sweeps(self.grid, shift, rhs[t], optimal_omega(self.grid, shift), TOLERANCE, CAP)
        np.save(folder / "shifts.npy", shifts)
        np.save(folder / "table.npy", table)

    def load(self, folder: Path) -> Any:
        return np.load(folder / "shifts.npy"), np.load(folder / "table.npy")


def optimal_omega(grid: int, shift: float) -> float:
    """The parameter with the smallest spectral radius: 1 + (b / (1 + sqrt(1 - b^2)))^2, b the radius of Jacobi's iteration."""
    b = 4 * math.cos(math.pi / (grid + 1)) / (4 + shift)
    return 1 + (b / (1 + math.sqrt(1 - b * b))) ** 2


class SolverTuning(
    Task, family="bandit_regret", name="solver-tuning", label="tuning SOR", accepts=(SolverMethod,), seeds_together=False, seconds=1.0
):
    """Instance t is (A + c_t I) x = b_t with A the 5-point Laplacian; a policy sees c_t, picks omega from a grid and pays the iterations.

    The setting of paper 74, "Learning to Relax": c_t = -.15 + .6 Beta(a, b), b_t normal with |b_t| <= sqrt(n), SOR from 0 to a relative
    residual of 1e-8. `regret` is against the best fixed omega in hindsight and negative for policies that use c_t well.
    """

    check_params: ClassVar = {"grid": 4, "omegas": 5, "horizon": 40}

    law: Literal["high_variance", "low_variance"] = Field("high_variance", description="Beta(.5, 1.5) or Beta(2, 6)")
    grid: int = Field(10, ge=2, le=40, description="interior points per side; the system has grid^2 unknowns")
    omegas: int = Field(20, ge=2, le=200, description="parameters evenly from 1 to 1.95")
    horizon: int = Field(5000, ge=10, le=100_000, description="instances")

    metrics = (
        Metric("mean_iterations", "iterations", "lower", "mean cost of an instance", primary=True, low=1.0),
        Metric("ratio_to_best_fixed", "ratio", "lower", "mean cost over that of the best fixed omega in hindsight", low=0.0),
        Metric("ratio_to_optimal", "ratio", "lower", "mean cost over that of each instance's optimal omega", low=0.0),
        Metric("regret", "iterations", "lower", "total cost minus that of the best fixed omega"),
        Metric("regret_curve", "iterations", "lower", "regret after this instance", curve="round"),
    )

    def data_fingerprint(self) -> str:
        return digest("SOR on shifted Laplacians, generator 1")

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (SweepTable(law=self.law, grid=self.grid, omegas=self.omegas, horizon=self.horizon, seed=seed),)

    def problem(self, method: Method) -> Problem:
        """What the method is told."""
        return Problem(self.omegas, 1, False, told(method, {"horizon": self.horizon}))

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, SolverMethod)
        shifts, table = context.fixture(self.fixtures(seed)[0])
        rounds = checkpoints(self.horizon)
        key = self.streams(seed).integer("method")
        played = play(method.policy, self.problem(method), lambda decoy: _Instances(shifts, table[:, :-1], decoy), key, rounds, True)
        costs = table[np.arange(self.horizon), played.trace].astype(float)
        metrics = {
            "mean_iterations": float(costs.mean()),
            "ratio_to_best_fixed": float(costs.mean() / table[:, :-1].mean(axis=0).min()),
            "ratio_to_optimal": float(costs.mean() / table[:, -1].mean()),
            "regret": float(played.curve[-1]),
        }
        return Measured(metrics, {"regret_curve": (rounds.tolist(), played.curve.tolist())})


class _Instances:
    """The instances as the referee drives them: deterministic rewards, minus the iterations."""

    def __init__(self, shifts: np.ndarray, table: np.ndarray, decoy: bool) -> None:
        self._shifts, self._rewards = shifts, -table.astype(float)
        if decoy:
            self._rewards = self._rewards[:, ::-1]

    def contexts(self, round_: int) -> np.ndarray:
        return np.full((self._rewards.shape[1], 1), self._shifts[round_ - 1])

    def means(self, round_: int) -> np.ndarray:
        return self._rewards[round_ - 1]

    def reward(self, round_: int, arm: int) -> float:
        return float(self._rewards[round_ - 1, arm])


def _truncated_normals(random: np.random.Generator, count: int, n: int) -> np.ndarray:
    """Standard normal vectors [count, n] conditioned on a norm of at most sqrt(n)."""
    out = np.empty((count, n))
    filled = 0
    while filled < count:
        draws = random.standard_normal((2 * (count - filled) + 8, n))
        good = draws[(draws**2).sum(axis=1) <= n][: count - filled]
        out[filled : filled + len(good)] = good
        filled += len(good)
    return out
