"""The stochastic K-armed bandit: bounded, Gaussian or heavy-tailed rewards."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Method
from tasks.bandit_regret.armed import ArmedTask
from tasks.bandit_regret.moments import absolute_moment, finite_order
from tasks.bandit_regret.protocol import ArmedMethod
from tasks.bandit_regret.regret import REGRET_METRICS, digest

if TYPE_CHECKING:
    from kernels.bandits.armed_environment import ArmedEnvironment


class Stochastic(ArmedTask, name="stochastic", label="stochastic bandit", accepts=(ArmedMethod,), seeds_together=True, seconds=0.05):
    """K arms with fixed means. Which arm has which mean is drawn per seed.

    `one_good`: one arm leads all others by `gap` (Bernoulli: means 1/2 + gap/2 and 1/2 - gap/2, else gap and 0). `linspace`: means evenly
    from .1 to .9. Noise: Bernoulli, normal, Student-t, Pareto minus its mean (asymmetric), or Pareto with a random sign; the last three
    have finite moments below order `tail` only, and regret is counted in means, never in sampled rewards.
    """

    check_params: ClassVar = {"arms": 3, "horizon": 60}

    arms: int = Field(10, ge=2, le=4096, description="number of arms K")
    horizon: int = Field(100_000, ge=10, le=1_000_000_000, description="rounds T")
    law: Literal["bernoulli", "gaussian", "student", "pareto", "two_sided_pareto"] = Field("bernoulli", description="reward distribution")
    means: Literal["one_good", "linspace"] = Field("one_good", description="pattern of the means")
    gap: float = Field(0.125, gt=0, le=1, description="lead of the best arm (one_good)")
    scale: float = Field(1.0, gt=0, le=100, description="factor on the noise; Gaussian: its standard deviation")
    tail: float = Field(
        3.0, gt=1, le=100, description="degrees of freedom (student) or Pareto exponent; moments below this order are finite"
    )

    metrics = REGRET_METRICS

    def data_fingerprint(self) -> str:
        return digest("stochastic bandit, generator 1")

    def infeasible(self, method: Method) -> str | None:
        if getattr(method, "prior", None) == "beta" and self.law != "bernoulli":
            return f"Beta priors need rewards in [0, 1], which law={self.law} does not give; use prior=gaussian."
        return super().infeasible(method)

    def _pattern(self) -> np.ndarray:
        if self.means == "linspace":
            return np.linspace(0.9, 0.1, self.arms)
        low, high = (0.5 - self.gap / 2, 0.5 + self.gap / 2) if self.law == "bernoulli" else (0.0, self.gap)
        return np.array([high] + [low] * (self.arms - 1))

    def environment(self, seed: int) -> ArmedEnvironment:
        from kernels.bandits import armed_environment as world

        streams = self.streams(seed)
        means = streams.numpy("data").permutation(self._pattern())
        return world.ArmedEnvironment(
            law=world.LAWS[self.law],
            means=np.stack([means, means]),
            ends=np.array([self.horizon], np.int64),
            scale=float(self.scale),
            tail=float(self.tail),
            noise_key=streams.integer("noise"),
        )

    def facts(self) -> dict[str, float]:
        facts = {"horizon": self.horizon, "gap": float(-np.diff(np.sort(self._pattern())[::-1][:2])[0])}
        if self.law == "bernoulli":
            return {**facts, "range": 1.0, "noise_scale": 0.5, "moment_order": 2.0, "moment_bound": 1.0, "central_moment_bound": 0.25}
        order = finite_order(self.law, self.tail)
        central = self.scale**order * absolute_moment(self.law, self.tail, order)
        raw = (central ** (1 / order) + float(np.abs(self._pattern()).max())) ** order  # Minkowski
        # The standard deviation where there is one, else the scale that a user without better knowledge would set.
        spread = self.scale * math.sqrt(absolute_moment(self.law, self.tail, 2.0)) if order == 2.0 else self.scale
        return {**facts, "noise_scale": spread, "moment_order": order, "moment_bound": raw, "central_moment_bound": central}
