"""Fixed-budget best-arm identification on a grid of beams (paper 173)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.protocol import BeamMethod, Problem
from tasks.bandit_regret.referee import identify
from tasks.bandit_regret.regret import digest, told

#: Counters of consecutive runs are this far apart.
_RUN = 1 << 24


class BestArm(Task, family="bandit_regret", name="best-arm", label="best beam", accepts=(BeamMethod,), seconds=2.0):
    """K = B x B beams with gain f1(b1) f2(b2), each factor unimodal around a random peak; `budget` noisy plays, then one recommendation.

    The environment of paper 173 (holographic beamforming). The referee meters the plays: nobody can overspend. Flat tops make the
    probability of error meaningless, so the primary metric is the simple regret, the gain lost by the recommended beam.
    """

    check_params: ClassVar = {"side": 4, "budget": 64, "runs": 2}

    side: int = Field(32, ge=2, le=128, description="beams per axis B; K = B^2")
    budget: int = Field(1024, ge=8, le=1_000_000, description="plays n")
    shape: Literal["triangle", "sinc"] = Field("triangle", description="1 - .9 |i - c| / B, or the main lobe of a sinc with side lobes")
    noise: float = Field(0.1, gt=0, le=100, description="standard deviation of a play")
    runs: int = Field(30, ge=1, le=10_000, description="independent problems per seed, averaged")

    metrics = (
        Metric("simple_regret", "gain", "lower", "best gain minus the recommended beam's, mean over runs", primary=True, low=0.0, high=1.0),
        Metric("error_rate", "fraction", "lower", "share of runs that recommend another beam than the best", low=0.0, high=1.0),
    )

    def data_fingerprint(self) -> str:
        return digest("product-unimodal beams, generator 1")

    def problem(self, method: Method) -> Problem:
        """What the method is told; the budget is part of the problem."""
        return Problem(self.side**2, 2, True, {**told(method, {"noise_scale": self.noise}), "horizon": self.budget})

    def gains(self, seed: int, run: int) -> np.ndarray:
        """Gain of each beam [side^2], beam (b1, b2) at b1 * side + b2."""
        random = np.random.Generator(np.random.PCG64([self.streams(seed).integer("data"), run]))
        factors = []
        for _ in range(2):
            distance = np.abs(np.arange(self.side) - random.integers(self.side)) / self.side
            factors.append(1 - 0.9 * distance if self.shape == "triangle" else np.abs(np.sinc(4 * distance)))
        return np.outer(*factors).ravel()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, BeamMethod)
        problem, streams = self.problem(method), self.streams(seed)
        regrets = []
        for run in range(self.runs):

            def world(decoy: bool, run: int = run) -> _Beams:
                # Made anew, so that nobody finds the real gains once the environment is gone.
                gains = self.gains(seed, run)
                return _Beams(gains[::-1] if decoy else gains, self.side, self.noise, streams.integer("noise"), run)

            arm, _ = identify(method.policy, problem, world, streams.integer("method") ^ run)
            gains = self.gains(seed, run)
            regrets.append(float(gains.max() - gains[arm]))
            del gains
        regret = np.array(regrets)
        return Measured({"simple_regret": float(regret.mean()), "error_rate": float((regret > 0).mean())})


class _Beams:
    """One run's environment."""

    def __init__(self, gains: np.ndarray, side: int, noise: float, key: int, run: int) -> None:
        from kernels.bandits.draws import normal

        self._gains, self._noise, self._key, self._base, self._normal = gains, noise, key, run * _RUN, normal
        self._contexts = np.stack(np.divmod(np.arange(side * side), side), axis=1).astype(float)

    def contexts(self, round_: int) -> np.ndarray:
        return self._contexts

    def means(self, round_: int) -> np.ndarray:
        return self._gains

    def reward(self, round_: int, arm: int) -> float:
        return float(self._gains[arm] + self._noise * self._normal(self._key, self._base + round_, 0))


def rounds_of_halving(arms: int) -> int:
    """ceil(log2 K), at least 1."""
    return max(1, math.ceil(math.log2(arms)))
