"""The linear bandit, well specified or not: fixed arms (the setting of paper 144) or fresh contexts every round."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Method
from tasks.bandit_regret.contextual import LinearTask, unit
from tasks.bandit_regret.protocol import LinearMethod
from tasks.bandit_regret.regret import REGRET_METRICS, digest
from tasks.errors import InvalidParams

if TYPE_CHECKING:
    from kernels.bandits.linear_environment import LinearEnvironment

#: Arm sets drawn before a conditioned gap is given up.
MAX_DRAWS = 20_000


class Linear(LinearTask, name="linear", label="linear bandit", accepts=(LinearMethod,), seeds_together=True, seconds=0.05):
    """Rewards r(x) = x'theta + eta(x) + noise with |x| = |theta| = 1, |eta| <= zeta and Gaussian noise; T rounds, regret in means.

    `fixed` shows the same arms in every round; `sphere` and `orthant` draw new ones (uniform on the sphere; uniform on the cube [0,1]^d,
    normalised, which is ill-conditioned). eta is a fixed function of x, not noise: `random_sign` is +-zeta by an independent coin per x,
    `adversarial` hides the best decile of x'theta (-zeta) and flatters the rest (+zeta). With `gap`, arm sets are redrawn until the best
    mean leads the second by gap +- tolerance; unconditioned gaps average .08 at 100 arms in 16 dimensions and swamp every comparison.
    """

    check_params: ClassVar = {"d": 4, "arms": 6, "horizon": 60, "gap": None}

    d: int = Field(16, ge=1, le=256, description="dimension of the contexts")
    arms: int = Field(100, ge=2, le=4000, description="arms per round")
    horizon: int = Field(10_000, ge=10, le=100_000_000, description="rounds T")
    arm_set: Literal["fixed", "sphere", "orthant"] = Field("fixed", description="same arms in every round, or how fresh ones are drawn")
    zeta: float = Field(0.0, ge=0, le=10, description="misspecification bound |eta|")
    misspecification: Literal["random_sign", "adversarial"] = Field("random_sign", description="how eta depends on x")
    gap: float | None = Field(0.18, gt=0, lt=2, description="gap that fixed arm sets are conditioned on; null leaves it random")
    gap_tolerance: float = Field(0.02, gt=0, lt=1, description="accepted deviation from `gap`")
    noise: float = Field(1.0, ge=0, le=100, description="standard deviation of the reward noise")

    metrics = REGRET_METRICS

    def infeasible(self, method: Method) -> str | None:
        if self.gap is not None and self.arm_set != "fixed":
            return f"arm_set={self.arm_set} draws new arms in every round and can't be conditioned on gap={self.gap}; set gap to null."
        if self.arm_set != "fixed" and self.d * self.arms >= 1 << 19:
            return f"{self.arms} fresh arms in {self.d} dimensions need too many random numbers per round (d x arms < 524288)."
        return super().infeasible(method)

    def data_fingerprint(self) -> str:
        return digest("linear bandit, generator 1")

    def facts(self) -> dict[str, float]:
        facts = {"horizon": self.horizon, "noise_scale": self.noise, "norm_bound": 1.0, "misspecification": self.zeta}
        return facts if self.gap is None else {**facts, "gap": self.gap}

    def environment(self, seed: int) -> LinearEnvironment:
        """The environment of one seed: arms, means and the keys of its random numbers."""
        from kernels.bandits import linear_environment as world

        streams = self.streams(seed)
        random = streams.numpy("data")
        for _ in range(MAX_DRAWS):
            theta = unit(random.standard_normal((1, self.d)))[0]
            features = unit(random.standard_normal((self.arms, self.d)))
            linear = features @ theta
            signs = np.where(random.random(self.arms) < 0.5, 1.0, -1.0)
            if self.misspecification == "adversarial":
                signs = np.where(linear >= np.sort(linear)[-math.ceil(self.arms / 10)], -1.0, 1.0)
            means = linear + self.zeta * signs
            second, best = np.partition(means, self.arms - 2)[-2:]
            if self.gap is None or abs(best - second - self.gap) <= self.gap_tolerance:
                break
        else:
            raise InvalidParams(
                f"No arm set with gap {self.gap} +- {self.gap_tolerance} in {MAX_DRAWS} draws of {self.arms} arms in {self.d} dimensions; "
                "ask for a smaller gap, fewer arms or a wider gap_tolerance."
            )
        kinds = {"random_sign": world.RANDOM_SIGN, "adversarial": world.ADVERSARIAL}
        return world.LinearEnvironment(
            arm_set={"fixed": world.FIXED, "sphere": world.SPHERE, "orthant": world.ORTHANT}[self.arm_set],
            features=np.ascontiguousarray(features.T),
            means=means,
            theta=theta,
            zeta=float(self.zeta),
            misspecification=kinds[self.misspecification] if self.zeta else world.NO_MISSPECIFICATION,
            threshold=self._threshold(theta),
            noise=float(self.noise),
            quiet=float(self.noise),
            share=0.0,
            spread=world.CONSTANT,
            data_key=streams.integer("data"),
            noise_key=streams.integer("noise"),
        )

    def _threshold(self, theta: np.ndarray) -> float:
        """The upper decile of x'theta over the distribution of fresh contexts."""
        if self.arm_set == "fixed" or self.misspecification != "adversarial":
            return math.inf
        if self.arm_set == "sphere":
            from scipy.stats import beta

            # (1 + x'theta) / 2 is Beta((d-1)/2, (d-1)/2) for x uniform on the sphere
            return 2 * float(beta.ppf(0.9, (self.d - 1) / 2, (self.d - 1) / 2)) - 1 if self.d > 1 else 1.0
        sample = np.random.Generator(np.random.PCG64(0)).random((100_000, self.d))
        return float(np.quantile(unit(sample) @ theta, 0.9))
