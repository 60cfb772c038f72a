"""K arms whose means an oblivious adversary switches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.bandit_regret.armed import ArmedTask
from tasks.bandit_regret.protocol import ArmedMethod
from tasks.bandit_regret.regret import REGRET_METRICS, digest

if TYPE_CHECKING:
    from kernels.bandits.armed_environment import ArmedEnvironment


class Adversarial(ArmedTask, name="adversarial", label="adversarial bandit", accepts=(ArmedMethod,), seeds_together=True, seconds=0.05):
    """Bernoulli losses (reward = 1 - loss) whose means follow a schedule fixed in advance; regret against the best fixed arm in hindsight.

    `constrained`: the stochastically constrained adversary of Zimmert and Seldin (2021). The best arm leads by `gap` in every round, but
    all loss means jump between (0, gap) and (1 - gap, 1) in phases that last 1.6^n rounds, which misleads policies that trust averages.
    `swap`: stochastic until T/2, where the best arm becomes another; regret against a fixed arm may then be negative.
    """

    check_params: ClassVar = {"arms": 3, "horizon": 60}

    arms: int = Field(8, ge=2, le=4096, description="number of arms K")
    horizon: int = Field(100_000, ge=10, le=1_000_000_000, description="rounds T")
    schedule: Literal["constrained", "swap"] = Field("constrained", description="what the adversary does")
    gap: float = Field(0.125, gt=0, lt=1, description="lead of the best arm")
    ratio: float = Field(1.6, gt=1, le=10, description="length of a phase over that of the one before (constrained)")

    metrics = tuple(
        replace(metric, low=-np.inf, doc=metric.doc.replace("sum of best mean minus mean of the arm played", "against the best fixed arm"))
        if metric.unit == "reward"
        else metric
        for metric in REGRET_METRICS
    )

    def data_fingerprint(self) -> str:
        return digest("adversarial bandit, generator 1")

    def environment(self, seed: int) -> ArmedEnvironment:
        from kernels.bandits import armed_environment as world

        streams = self.streams(seed)
        order = streams.numpy("data").permutation(self.arms)
        losses = np.full((2, self.arms), self.gap)
        if self.schedule == "constrained":
            losses[:, order[0]] = 0.0
            losses[1] += 1.0 - self.gap
            lengths = np.ceil(self.ratio ** np.arange(1, 64)).clip(max=2.0**62 / 64).astype(np.int64)
            ends = np.cumsum(lengths)
            ends = np.append(ends[ends < self.horizon], self.horizon)
        else:
            losses = losses + (1 - self.gap) / 2
            losses[0, order[0]] -= self.gap
            losses[1, order[1]] -= self.gap
            ends = np.array([self.horizon // 2, self.horizon])
        return world.ArmedEnvironment(world.BERNOULLI, 1.0 - losses, ends.astype(np.int64), 1.0, 3.0, streams.integer("noise"))

    def facts(self) -> dict[str, float]:
        facts = {"horizon": self.horizon, "range": 1.0, "noise_scale": 0.5, "gap": self.gap}
        return {**facts, "moment_order": 2.0, "moment_bound": 1.0, "central_moment_bound": 0.25}
