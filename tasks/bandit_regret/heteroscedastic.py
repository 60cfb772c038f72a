"""The linear bandit whose noise changes from round to round, by a known amount."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Method
from tasks.bandit_regret.contextual import LinearTask, unit
from tasks.bandit_regret.protocol import LinearMethod
from tasks.bandit_regret.regret import REGRET_METRICS, digest

if TYPE_CHECKING:
    from kernels.bandits.linear_environment import LinearEnvironment


class Heteroscedastic(LinearTask, name="heteroscedastic", label="heteroscedastic bandit", accepts=(LinearMethod,), seeds_together=True):
    """Fresh contexts on the unit sphere every round, r = x'theta + sigma_t N(0, 1); sigma_t is shown to methods that declare to know it.

    `two_point`: sigma_t = quiet with probability `share`, else loud. `log_uniform`: between the two. `constant`: always loud, the control
    where knowing the variance is worth nothing.
    """

    check_params: ClassVar = {"d": 3, "arms": 4, "horizon": 60}

    d: int = Field(10, ge=2, le=256, description="dimension of the contexts")
    arms: int = Field(20, ge=2, le=1000, description="arms per round")
    horizon: int = Field(20_000, ge=10, le=100_000_000, description="rounds T")
    arm_set: Literal["sphere", "orthant"] = Field("sphere", description="how contexts are drawn")
    spread: Literal["constant", "two_point", "log_uniform"] = Field("two_point", description="law of sigma_t")
    quiet: float = Field(0.05, gt=0, le=100, description="smallest standard deviation")
    loud: float = Field(1.0, gt=0, le=100, description="largest standard deviation")
    share: float = Field(0.9, ge=0, le=1, description="share of quiet rounds (two_point)")

    metrics = REGRET_METRICS

    def data_fingerprint(self) -> str:
        return digest("heteroscedastic linear bandit, generator 1")

    def infeasible(self, method: Method) -> str | None:
        if self.quiet > self.loud:
            return f"quiet={self.quiet} exceeds loud={self.loud}; swap them."
        if self.d * self.arms >= 1 << 19:
            return f"{self.arms} fresh arms in {self.d} dimensions need too many random numbers per round (d x arms < 524288)."
        return super().infeasible(method)

    def facts(self) -> dict[str, float]:
        return {
            "horizon": self.horizon,
            "noise_scale": self.loud,
            "noise_scale_per_round": self.loud,
            "norm_bound": 1.0,
            "misspecification": 0.0,
        }

    def environment(self, seed: int) -> LinearEnvironment:
        from kernels.bandits import linear_environment as world

        streams = self.streams(seed)
        return world.LinearEnvironment(
            arm_set={"sphere": world.SPHERE, "orthant": world.ORTHANT}[self.arm_set],
            features=np.zeros((self.d, self.arms)),
            means=np.zeros(self.arms),
            theta=unit(streams.numpy("data").standard_normal((1, self.d)))[0],
            zeta=0.0,
            misspecification=world.NO_MISSPECIFICATION,
            threshold=math.inf,
            noise=float(self.loud),
            quiet=float(self.quiet),
            share=float(self.share),
            spread={"constant": world.CONSTANT, "two_point": world.TWO_POINT, "log_uniform": world.LOG_UNIFORM}[self.spread],
            data_key=streams.integer("data"),
            noise_key=streams.integer("noise"),
        )
