"""Online regression: predict a score, see the target, pay the loss."""

from __future__ import annotations

import functools
import hashlib
import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.bandit_regret.contextual import unit
from tasks.bandit_regret.likelihood import maximise_likelihood
from tasks.bandit_regret.protocol import Compiled
from tasks.bandit_regret.referee import REPLAYED, checkpoints
from tasks.bandit_regret.regret import digest, told
from tasks.errors import InvalidParams, InvalidResult

if TYPE_CHECKING:
    from kernels.bandits.online import OnlineEnvironment

#: A prediction beyond this has diverged and its regret is infinite.
DIVERGED = 1e100


@dataclass(frozen=True, slots=True)
class Stream:
    """What a learner is told before the first round."""

    dimension: int
    facts: dict[str, float] = field(default_factory=dict)
    link: str = "identity"  #: of the loss: identity (squared), logistic or poisson


class Learner(Protocol):
    """One run of an online learner."""

    def reset(self, stream: Stream) -> None:
        """Forget everything; a new run begins."""
        ...

    def predict(self, x: np.ndarray) -> float:
        """The score predicted for the features x [dimension]; squared loss: the prediction itself."""
        ...

    def update(self, x: np.ndarray, y: float) -> None:
        """Learn the target."""
        ...


class OnlineMethod(Method, family="bandit_regret"):
    """An online learner. Third parties implement `learner` only."""

    losses: ClassVar[tuple[str, ...]] = ("squared",)  #: the losses it is made for

    @abstractmethod
    def learner(self) -> Learner:
        """A fresh learner; `reset` is called before the first round."""

    def compiled(self, stream: Stream) -> Compiled | None:
        """The built-in kernel that makes the same predictions, or None to be run round by round."""
        return None

    @classmethod
    def theory(cls, stream: Stream) -> dict[str, Any] | None:
        """Parameters with the constants that the paper's theory gives for this stream; {} where the defaults are these, None where the
        theory doesn't cover it."""
        return {}


class OnlineRegression(Task, family="bandit_regret", name="online-regression", label="online regression", accepts=(OnlineMethod,),
                       seeds_together=True, seconds=0.1):  # fmt: skip
    """Regret of sequential predictions p with loss (p - y)^2 / 2 (squared), log(1 + e^p) - y p (logistic) or e^p - y p (poisson).

    `linear`: x uniform on the sphere, y = x'mu* + noise, a coin with chance 1 / (1 + exp(-x'mu*)) or a count with mean exp(x'mu*), and the
    comparator is the truth mu*, |mu*| = 1 (stochastic regret of paper 63). `diabetes`: scikit-learn's 442 patients with standardised
    columns, in a random order, repeated to the horizon; the comparator is the least-squares fit to the whole stream in hindsight. `visits`:
    statsmodels' 20,190 counts of visits to a doctor (RAND health insurance experiment), once and in a random order, against the
    maximum-likelihood fit in hindsight; learners with a bound keep to the ball of radius 4. `sine`: a smooth surface on two coordinates,
    the comparator knows its values; linear learners are bound to lose there.
    """

    check_params: ClassVar = {"d": 2, "horizon": 60}

    stream: Literal["linear", "diabetes", "visits", "sine"] = Field("linear", description="where the examples come from")
    d: int = Field(5, ge=1, le=200, description="dimension (linear)")
    loss: Literal["squared", "logistic", "poisson"] = Field("squared", description="loss of a score (linear; visits: poisson)")
    noise: float = Field(1.0, ge=0, le=100, description="standard deviation of the targets' noise (linear, sine)")
    horizon: int = Field(50_000, ge=10, le=10_000_000, description="rounds T")

    metrics = (
        Metric(
            "regret",
            "loss",
            "lower",
            "sum of losses minus the comparator's; infinite for a learner that diverged",
            primary=True,
            finite=False,
        ),
        Metric("last_decade_growth", "loss", "lower", "regret of rounds T/10+1 to T", finite=False),
        Metric(
            "normalised_regret",
            "ratio",
            "lower",
            "regret over (noise^2 / 2) d ln(T / d), the optimal leading term on `linear`",
            finite=False,
        ),
        Metric("atoms", "points", "lower", "points that a kernel learner keeps at the end; NaN for others", low=0.0, finite=False),
        Metric("regret_curve", "loss", "lower", "regret after this round", curve="round", finite=False),
    )

    def data_fingerprint(self) -> str:
        if self.stream in ("diabetes", "visits"):
            return _digest(self.stream)
        return digest(f"online regression, {self.stream}, generator 1")

    def infeasible(self, method: Method) -> str | None:
        if self.horizon <= self.d:
            return f"horizon={self.horizon} must exceed the dimension {self.d}."
        fitting = {"linear": ("squared", "logistic", "poisson"), "visits": ("poisson",)}.get(self.stream, ("squared",))
        if self.loss not in fitting:
            return f"The stream {self.stream} goes with loss={' or '.join(fitting)}, not {self.loss}."
        if isinstance(method, OnlineMethod) and self.loss not in method.losses:
            return f"{method.label} is made for {' and '.join(method.losses)} loss, not {self.loss}."
        return method.infeasible()

    @property
    def dimension(self) -> int:
        return {"linear": self.d, "diabetes": 11, "visits": 10, "sine": 3}[self.stream]

    @property
    def link(self) -> str:
        return {"squared": "identity"}.get(self.loss, self.loss)

    def facts(self) -> dict[str, float]:
        """Everything that methods may be told."""
        return {"horizon": self.horizon, "noise_scale": self.noise, "norm_bound": 1.0 if self.stream == "linear" else 4.0}

    def told(self, method: Method) -> Stream:
        """What the method is told."""
        return Stream(self.dimension, told(method, self.facts()), self.link)

    def environment(self, seed: int) -> OnlineEnvironment:
        """The stream of one seed."""
        from kernels.bandits.links import LINKS
        from kernels.bandits.online import OnlineEnvironment

        streams = self.streams(seed)
        keys = (streams.integer("data"), streams.integer("noise"), LINKS[self.link])
        if self.stream == "linear":
            theta = unit(streams.numpy("data").standard_normal((1, self.d)))[0]
            return OnlineEnvironment(np.empty((0, self.d)), np.empty(0), theta, float(self.noise), *keys)
        if self.stream in ("diabetes", "visits"):
            rows, targets, comparator = _table(self.stream)
            order = streams.numpy("order").permutation(len(targets))
            rows, targets = rows[order], targets[order]
        else:
            random = streams.numpy("data")
            points = random.random((self.horizon, 2))
            surface = np.sin(2 * np.pi * points[:, 0]) * np.cos(np.pi * points[:, 1])
            noise = streams.numpy("noise").standard_normal(self.horizon) * self.noise
            # The comparator sees the surface's value as a third coordinate, which learners are not shown.
            rows, targets, comparator = np.column_stack([np.ones(self.horizon), points, surface]), surface + noise, np.array([0, 0, 0, 1.0])
        return OnlineEnvironment(np.ascontiguousarray(rows), np.ascontiguousarray(targets), comparator, float(self.noise), *keys)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        """One seed, compiled where the method names a kernel (not on `sine`, whose comparator sees more than the learners)."""
        assert isinstance(method, OnlineMethod)
        rounds = checkpoints(self.horizon)
        curve, info = self.play(method, seed, rounds)
        at = {int(t): float(value) for t, value in zip(rounds, curve, strict=True)}
        scale = max(self.noise, 1e-12) ** 2 / 2 * self.dimension * math.log(self.horizon / self.dimension)
        final, before = at[self.horizon], at[self.horizon // 10]
        growth = math.inf if math.isinf(final) else final - before
        metrics = {
            "regret": final,
            "last_decade_growth": growth,
            "normalised_regret": final / scale,
            "atoms": float(info.pop("atoms", math.nan)),
        }
        return Measured(metrics, {"regret_curve": (rounds.tolist(), curve.tolist())}, info)

    def play(self, method: OnlineMethod, seed: int, rounds: np.ndarray, reference: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
        """Regret at `rounds`, and a note; compiled where the method names a kernel, unless `reference` asks for the readable learner."""
        stream = self.told(method)
        compiled = None if reference or self.stream == "sine" else method.compiled(stream)
        if compiled is None:
            curve, info, seen = self._by_round(method.learner(), stream, self.environment(seed), rounds)
            self._replay(method.learner(), stream, self.environment(seed), seen)
            return curve, info
        from kernels.bandits.online import KERNELS

        curve = np.empty(len(rounds))
        params = np.array(compiled.params, dtype=np.float64)
        KERNELS[compiled.kernel](self.environment(seed), params, rounds, curve, np.empty(0))
        return np.where(np.isnan(curve), np.inf, curve), {"played": "compiled"}

    def _by_round(
        self, learner: Learner, stream: Stream, environment: OnlineEnvironment, rounds: np.ndarray
    ) -> tuple[np.ndarray, dict[str, Any], list[tuple[float, float]]]:
        """Regret at `rounds`, a note, and the predictions and targets of the first rounds."""
        from kernels.bandits.online import example, excess_loss

        learner.reset(stream)
        row, curve, marks = np.empty(environment.comparator.size), np.empty(len(rounds)), {int(t): i for i, t in enumerate(rounds)}
        regret, seen = 0.0, []
        for t in range(1, int(rounds[-1]) + 1):
            y = float(example(environment, t, row))
            x = row[: stream.dimension].copy()
            x.flags.writeable = False
            prediction = learner.predict(x)
            if math.isnan(prediction):
                raise InvalidResult(f"predict() returned {prediction!r} in round {t}; it must return a number.")
            if t <= REPLAYED:
                seen.append((prediction, y))
            if not abs(prediction) < DIVERGED:
                regret = math.inf
            if regret < math.inf:
                regret += float(excess_loss(environment.link, prediction, float(row @ environment.comparator), y))
                learner.update(x, y)
            if t in marks:
                curve[marks[t]] = regret
            if regret == math.inf:
                curve[np.array(rounds) >= t] = math.inf
                break
        info: dict[str, Any] = {"played": "round by round"}
        if hasattr(learner, "atoms"):
            info["atoms"] = int(learner.atoms)
        return curve, info, seen

    def _replay(self, learner: Learner, stream: Stream, environment: OnlineEnvironment, seen: list[tuple[float, float]]) -> None:
        """Play the first rounds again with the targets that were seen, while everything else in reach belongs to another stream."""
        from kernels.bandits.online import example

        environment = environment._replace(targets=-environment.targets - 1, comparator=-environment.comparator)
        learner.reset(stream)
        row = np.empty(environment.comparator.size)
        for t, (before, target) in enumerate(seen, 1):
            y = float(example(environment, t, row))  # a decoy for those who look for it
            x = row[: stream.dimension].copy()
            x.flags.writeable = False
            prediction = learner.predict(x)
            if prediction != before:
                raise InvalidResult(
                    f"Replayed with the same features and targets, the learner predicted {prediction} in round {t} where it had predicted "
                    f"{before}: it decides on something it was not shown."
                )
            del y
            if abs(prediction) < DIVERGED:
                learner.update(x, target)


@functools.cache
def _table(stream: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows [n, d] (standardised columns and a constant, divided by sqrt d), targets [n], and the best fit in hindsight [d]."""
    if stream == "diabetes":
        from sklearn.datasets import load_diabetes

        rows, targets = load_diabetes(return_X_y=True)
        targets = (targets - targets.mean()) / targets.std()
    else:
        try:
            from statsmodels.datasets import randhie
        except ImportError:
            raise InvalidParams("The stream visits needs statsmodels: install it, or choose another stream.") from None
        data = randhie.load_pandas().data
        targets = data.pop("mdvis").to_numpy(dtype=float)
        rows = data.to_numpy(dtype=float)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    rows = np.column_stack([rows, np.ones(len(rows))]) / math.sqrt(rows.shape[1] + 1)
    if stream == "diabetes":
        return rows, targets, np.linalg.lstsq(rows, targets, rcond=None)[0]
    return rows, targets, maximise_likelihood(rows, targets, "poisson", 0.0, np.zeros(rows.shape[1]))


@functools.cache
def _digest(stream: str) -> str:
    rows, targets, _ = _table(stream)
    return hashlib.sha256(np.round(np.column_stack([rows, targets]), 9).tobytes()).hexdigest()
