"""Generalized linear bandits: coins or counts (`glm`) and heavy-tailed rewards (`heavy-tailed-glm`, the setting of paper 69)."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Task
from tasks.bandit_regret.contextual import unit
from tasks.bandit_regret.moments import absolute_moment, finite_order
from tasks.bandit_regret.protocol import GlmMethod, Problem
from tasks.bandit_regret.referee import Play, checkpoints, play
from tasks.bandit_regret.regret import REGRET_METRICS, digest, measured, told
from tasks.errors import InvalidParams

if TYPE_CHECKING:
    from kernels.bandits.glm_environment import GlmEnvironment


class GlmTask(Task, family="bandit_regret"):
    """What the generalized linear tasks share. Contexts stay for `hold` rounds, so that methods which repeat an arm can be compared with
    others on the same contexts."""

    d: int = Field(10, ge=2, le=128, description="dimension of the contexts")
    arms: int = Field(20, ge=2, le=1000, description="arms per round")
    horizon: int = Field(50_000, ge=10, le=100_000_000, description="rounds T")
    arm_set: Literal["sphere", "orthant"] = Field(
        "sphere", description="contexts: uniform on the sphere, or on the cube [0,1]^d, normalised"
    )
    norm: float = Field(1.0, gt=0, le=20, description="Euclidean norm of theta")
    hold: int = Field(1, ge=1, le=1000, description="rounds for which each set of contexts stays")

    metrics = REGRET_METRICS

    @abstractmethod
    def facts(self) -> dict[str, float]:
        """Everything that methods may be told."""

    @abstractmethod
    def noise(self) -> tuple[str, float, float]:
        """Law, scale and tail of the rewards."""

    @property
    def link_name(self) -> str:
        return "logistic"

    def infeasible(self, method: Method) -> str | None:
        plays = getattr(method, "plays", 1)
        if self.hold % plays:
            return f"{method.label} plays each arm {plays} times in a row; contexts must stay as long: set hold to a multiple of {plays}."
        if "moment_order" in method.knowledge and "moment_order" not in self.facts():
            return f"{method.label} must be told a moment of the rewards, which {self.id()} does not give."
        if isinstance(method, GlmMethod) and self.link_name not in method.links:
            return f"{method.label} is made for linear rewards; set link to identity."
        if isinstance(method, GlmMethod) and self.horizon > method.longest:
            return f"{method.label} looks at all past rounds in every round; set horizon to {method.longest} or less."
        if self.d * self.arms >= 1 << 19:
            return f"{self.arms} fresh arms in {self.d} dimensions need too many random numbers per round (d x arms < 524288)."
        return method.infeasible()

    def problem(self, method: Method) -> Problem:
        """What the method is told."""
        return Problem(self.arms, self.d, False, told(method, self.facts()), self.link_name, self.hold)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        """One seed. Built-in methods run as compiled kernels, others round by round under the referee."""
        assert isinstance(method, GlmMethod)
        if sentence := self.infeasible(method):
            raise InvalidParams(sentence)
        rounds = checkpoints(self.horizon)
        return measured(rounds, lambda: self.play(method, seed, rounds))

    def play(self, method: GlmMethod, seed: int, rounds: np.ndarray, reference: bool = False) -> Play:
        """Play one seed: compiled where the method names a kernel, unless `reference` asks for the readable policy."""
        problem, key = self.problem(method), self.streams(seed).integer("method")
        compiled = None if reference else method.compiled(problem)
        if compiled is None:
            return play(method.policy, problem, lambda decoy: _Rounds(self.environment(seed), decoy), key, rounds)
        from kernels.bandits.glm import KERNELS

        curve = np.empty(len(rounds))
        params = np.array(compiled.params, dtype=np.float64)
        used = KERNELS[compiled.kernel](self.environment(seed), params, key, rounds, curve, np.empty(0, np.int64))
        return Play(curve, np.empty(0, np.int64), int(used))

    def environment(self, seed: int) -> GlmEnvironment:
        """The environment of one seed."""
        from kernels.bandits import armed_environment, links
        from kernels.bandits import linear_environment as world
        from kernels.bandits.glm_environment import GlmEnvironment

        streams = self.streams(seed)
        contexts = world.LinearEnvironment(
            arm_set={"sphere": world.SPHERE, "orthant": world.ORTHANT}[self.arm_set],
            features=np.zeros((self.d, self.arms)),
            means=np.zeros(self.arms),
            theta=self.norm * unit(streams.numpy("data").standard_normal((1, self.d)))[0],
            zeta=0.0,
            misspecification=world.NO_MISSPECIFICATION,
            threshold=math.inf,
            noise=0.0,
            quiet=0.0,
            share=0.0,
            spread=world.CONSTANT,
            data_key=streams.integer("data"),
            noise_key=0,
        )
        law, scale, tail = self.noise()
        link = links.LINKS[self.link_name]
        return GlmEnvironment(contexts, link, self.hold, armed_environment.LAWS[law], scale, tail, streams.integer("noise"))


def smallest_slope(link: str, norm: float) -> float:
    """kappa: the smallest derivative of the link over scores in [-norm, norm]."""
    if link == "poisson":
        return math.exp(-norm)
    return 1.0 if link == "identity" else math.exp(norm) / (1 + math.exp(norm)) ** 2


class Glm(GlmTask, name="glm", label="generalized linear bandit", accepts=(GlmMethod,), seeds_together=True, seconds=0.5):
    """Fresh contexts and rewards of 0 or 1 with mean 1 / (1 + exp(-x'theta)), or counts with mean exp(x'theta); the larger |theta|, the
    flatter the link somewhere (kappa)."""

    check_params: ClassVar = {"d": 3, "arms": 4, "horizon": 60}

    rewards: Literal["bernoulli", "poisson"] = Field("bernoulli", description="law of the rewards: logistic or log-linear model")

    @property
    def link_name(self) -> str:
        return "poisson" if self.rewards == "poisson" else "logistic"

    def data_fingerprint(self) -> str:
        return digest("generalized linear bandit, generator 1")

    def facts(self) -> dict[str, float]:
        facts = {"horizon": self.horizon, "norm_bound": self.norm, "kappa": smallest_slope(self.link_name, self.norm)}
        if self.rewards == "poisson":  # unbounded, and noisiest where the mean is largest
            return {**facts, "noise_scale": math.exp(self.norm / 2)}
        return {**facts, "noise_scale": 0.5, "range": 1.0}

    def noise(self) -> tuple[str, float, float]:
        return self.rewards, 1.0, 3.0


class HeavyTailedGlm(
    GlmTask, name="heavy-tailed-glm", label="heavy-tailed linear bandit", accepts=(GlmMethod,), seeds_together=True, seconds=0.5
):
    """Rewards mu(x'theta) + noise with finite moments below order `tail` only; paper 69's setting. Regret is counted in means."""

    check_params: ClassVar = {"d": 3, "arms": 4, "horizon": 66, "hold": 11}

    link: Literal["logistic", "identity"] = Field("logistic", description="mu")
    law: Literal["gaussian", "student", "pareto", "two_sided_pareto"] = Field("student", description="noise; `pareto` is asymmetric")
    tail: float = Field(1.5, gt=1, le=100, description="degrees of freedom (student) or Pareto exponent; lower moments are finite")
    scale: float = Field(1.0, gt=0, le=100, description="factor on the noise")

    @property
    def link_name(self) -> str:
        return self.link

    def data_fingerprint(self) -> str:
        return digest("heavy-tailed generalized linear bandit, generator 1")

    def facts(self) -> dict[str, float]:
        order = finite_order(self.law, self.tail)
        central = self.scale**order * absolute_moment(self.law, self.tail, order)
        raw = (central ** (1 / order) + max(1.0, self.norm)) ** order  # Minkowski
        facts = {"horizon": self.horizon, "norm_bound": self.norm, "kappa": smallest_slope(self.link, self.norm), "noise_scale": self.scale}
        return {**facts, "moment_order": order, "moment_bound": raw, "central_moment_bound": central}

    def noise(self) -> tuple[str, float, float]:
        return self.law, float(self.scale), float(self.tail)


class _Rounds:
    """The environment as the referee drives it, on the same compiled functions as the kernels."""

    def __init__(self, environment: GlmEnvironment, decoy: bool = False) -> None:
        from kernels.bandits import glm_environment, links

        if decoy:
            environment = environment._replace(contexts=environment.contexts._replace(theta=-environment.contexts.theta))
        self._glm, self._mean_of, self._world = glm_environment, links.mean_of, environment
        self._features, self._scores = environment.contexts.features.copy(), environment.contexts.means.copy()
        self._round = 0

    def _advance(self, round_: int) -> None:
        if round_ != self._round:
            self._glm.begin_glm_round(self._world, round_, self._features, self._scores)
            self._round = round_

    def contexts(self, round_: int) -> np.ndarray:
        self._advance(round_)
        return np.ascontiguousarray(self._features.T)

    def means(self, round_: int) -> np.ndarray:
        self._advance(round_)
        return np.array([self._mean_of(self._world.link, score) for score in self._scores])

    def reward(self, round_: int, arm: int) -> float:
        return float(self._glm.glm_reward(self._world, round_, self.means(round_)[arm]))
