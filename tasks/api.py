"""The vocabulary of the room `tasks`: what a task, a method, a metric, a fixture and a claim are.

Everything here is a declaration or a protocol; no algorithm and no I/O. Tasks and methods are frozen pydantic models whose *fields are
their parameters*: bounds, defaults and documentation stand in one place, unknown parameters are refused, and two instances are equal
exactly when their resolved parameters are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from tasks.identity import content_key
from tasks.streams import Streams

if TYPE_CHECKING:
    import numpy as np

#: Version of the rules that every evaluation shares (streams, metric validation). It enters each trial key: raise it only when the same
#: trial would give another number.
PROTOCOL = 1

FAMILIES = ("quantization", "pruning", "calibration", "robust_training", "bandit_regret")

Direction = Literal["lower", "higher", "none"]

#: Values in these units are clock readings and can't be expected to repeat.
CLOCK_UNITS = frozenset({"s", "ms", "us", "ns", "seconds"})


@dataclass(frozen=True, slots=True)
class Metric:
    """A named number with a unit and a direction.

    `curve` names the x axis (for instance "round") of a metric that is a series; None means a scalar. `low`/`high` bound legal values
    (inclusive); a value outside, or a non-finite value where `finite` is true, makes the attempt `invalid`.
    """

    id: str
    unit: str
    direction: Direction
    doc: str
    primary: bool = False  #: the metric a leaderboard ranks by; exactly one scalar per task
    curve: str | None = None
    low: float = -math.inf
    high: float = math.inf
    finite: bool = True


@dataclass(frozen=True, slots=True)
class Measured:
    """What one trial measured: scalars, curves as (steps, values) of equal length, and a small JSON-able note for `assay show`."""

    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoardSplit:
    """What a guarded leaderboard is made of: development rows, which everybody gets with their labels, and board rows, whose labels only
    the board's scorer reads.

    `development` [m, ...] and `board` [n, ...] are inputs; `development_labels` [m] and `board_labels` [n] class indices, int64.
    """

    development: np.ndarray
    development_labels: np.ndarray
    board: np.ndarray
    board_labels: np.ndarray


class Parametrised(BaseModel):
    """A frozen model whose fields are parameters. Unknown parameters are errors; values round-trip through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def params(self) -> dict[str, Any]:
        """The resolved parameters (defaults filled in) as plain JSON values."""
        return self.model_dump(mode="json")


class Fixture(Parametrised, ABC):
    """An expensive shared input (a trained model, a tokenised corpus): fields are its recipe.

    The harness builds it once per distinct content key, stores the files under the cache directory with a hash of each, and checks the
    hashes when it is read. `build` must be a pure function of the fields and of `fingerprint()`.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    seconds: ClassVar[float] = 60.0  #: rough build time on one core; only orders and estimates use it

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, *, name: str = "", version: int = 1, seconds: float = 60.0, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.name, cls.version, cls.seconds = name, version, seconds

    def fingerprint(self) -> dict[str, str]:
        """What besides the fields decides the content: hashes of the data it reads, versions of libraries that change its bits."""
        return {}

    def needs(self) -> tuple[Fixture, ...]:
        """Fixtures this one is built from."""
        return ()

    def key(self) -> str:
        """Content key: name, version, recipe and the fingerprint of what it is made from, those of its own fixtures included."""
        return content_key(
            {
                "fixture": [self.name, self.version, self.params()],
                "fingerprint": self.fingerprint(),
                "needs": [need.key() for need in self.needs()],
            }
        )

    @abstractmethod
    def build(self, folder: Path, context: Context) -> None:
        """Write the files into the empty `folder`."""

    @abstractmethod
    def load(self, folder: Path) -> Any:
        """Read back what `build` wrote. The result is shared by trials in one process: treat it as read-only."""


class Context(Protocol):
    """What the harness hands to a running task (and to a fixture that is being built)."""

    scratch: Path  #: an empty folder of this call's own, removed afterwards
    device: str  #: "cpu" or "cuda"

    def fixture(self, fixture: Fixture) -> Any:
        """The loaded fixture; built first if no one has yet."""
        ...


class Registered(Parametrised, ABC):
    """What tasks and methods have in common: a family, a name unique in it, a label for tables, a version."""

    family: ClassVar[str] = ""
    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()  # the keywords are for __pydantic_init_subclass__

    @classmethod
    def __pydantic_init_subclass__(cls, *, family: str = "", name: str = "", label: str = "", version: int = 1, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if family:
            cls.family = family
        cls.name, cls.label, cls.version = name, label or name, version

    @classmethod
    def id(cls) -> str:
        """`family/name`, unique in the registry."""
        return f"{cls.family}/{cls.name}"


class Method(Registered, ABC):
    """An algorithm under test: one class in one file, fields are its parameters, the paper stands in the docstring.

    A family's protocol derives from this and adds at most three methods. Subclass keywords: `name` (unique in the family), `label` (for
    tables), `paper` (number in shared/papers, None for a baseline without one), `version` (raise it when results change), `knowledge`
    (what the method is told beyond its inputs, shown in leaderboards).
    """

    paper: ClassVar[int | None] = None
    knowledge: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, *, paper: int | None = None, knowledge: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.paper, cls.knowledge = paper, knowledge

    def infeasible(self) -> str | None:
        """One sentence saying why this combination of parameters can't run, or None. Checked at planning time."""
        return None


class Task(Registered, ABC):
    """A standardised problem: data x model x protocol x metrics. Fields are its parameters.

    Subclass keywords: `name` (unique in the family), `label`, `version` (raise it when results change), `accepts` (the family's method
    protocols that it can run), `seeds_together` (it implements `run_seeds` and wants all seeds of a group in one call), `timeout`
    (seconds allowed per trial unless the suite says otherwise), `seconds` (rough cost of one trial on one core, until the ledger knows),
    `exclusive` (its metrics are clock readings: no other trial of the run may execute on the machine meanwhile, and methods take turns in
    random blocks).
    """

    accepts: ClassVar[tuple[type[Method], ...]] = ()
    seeds_together: ClassVar[bool] = False
    exclusive: ClassVar[bool] = False
    timeout: ClassVar[float] = 600.0
    seconds: ClassVar[float] = 1.0
    metrics: ClassVar[tuple[Metric, ...]] = ()
    check_params: ClassVar[Mapping[str, Any]] = {}  #: parameters that make a trial as cheap as possible, for conformance checks
    #: Parameters that `preset: NAME` in a suite stands for, by name. Unlike a field `preset` it is no part of a trial's identity.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        accepts: tuple[type[Method], ...] = (),
        seeds_together: bool = False,
        timeout: float = 600.0,
        seconds: float = 1.0,
        exclusive: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.accepts, cls.seeds_together, cls.timeout, cls.seconds = accepts, seeds_together, timeout, seconds
        cls.exclusive = exclusive

    @classmethod
    def primary_metric(cls) -> Metric:
        return next(metric for metric in cls.metrics if metric.primary)

    @abstractmethod
    def data_fingerprint(self) -> str:
        """Hex digest of the data this task reads (of the generator's name and version where data is generated). Cheap: planning calls it
        for every trial, so cache it."""

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        """Fixtures that a trial with this seed will ask its context for; the harness builds them before the trial starts."""
        return ()

    def infeasible(self, method: Method) -> str | None:
        """One sentence saying why this task can't run this method, or None. Checked at planning time."""
        return method.infeasible()

    @abstractmethod
    def run(self, method: Method, seed: int, context: Context) -> Measured:
        """Run one trial. Randomness comes from `self.streams(seed)` only; a method never sees test labels."""

    def run_seeds(self, method: Method, seeds: Sequence[int], context: Context) -> Mapping[int, Measured]:
        """Run several seeds in one call (`seeds_together`). Each seed's result must equal, bit for bit, what it would be alone."""
        return {seed: self.run(method, seed, context) for seed in seeds}

    def board_split(self, random: np.random.Generator) -> BoardSplit | None:
        """A split for a guarded leaderboard, drawn from `random` alone; None where the task keeps none.

        The generator's seed is the operator's secret. Return a split only if nobody can find the board's labels without it: rows of a data
        set that everybody has are not hidden.
        """
        return None

    def streams(self, seed: int) -> Streams:
        """The random streams of this task and seed; two methods with the same seed see the same draws in every role but their own."""
        return Streams(self.id(), seed)


@dataclass(frozen=True, slots=True)
class Setting:
    """A choice of a method's parameters on a task that has a name, shown in leaderboards: `theory` (the constants that the paper's theory
    gives) or `tuned` (the best on other seeds under a fixed budget). A family's modules list theirs as `SETTINGS`. Where there is no such
    choice, `params` is None and `why` the reason, as a clause. `told` names the facts that the choice was computed from."""

    name: str
    task: str
    task_params: Mapping[str, Any]
    method: str
    params: Mapping[str, Any] | None
    why: str = ""
    told: tuple[str, ...] = ()


Verdict = Literal["supported", "refuted", "inconclusive", "not attempted"]
ClaimKind = Literal["better", "equivalent", "ratio", "ordering", "slope", "front", "prediction", "line", "bound"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a claim: a method and the parameters that must match (others take their resolved defaults and may vary)."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A paper's statement made checkable: A against B in a metric on a task, by a margin, with a minimum number of seeds.

    `effect` is how the paired values become one number per seed: "difference" A - B, "ratio" A / B. With direction d of the metric, the
    claim "better" holds when the effect is better than `margin` (difference: A beats B by at least `margin`; ratio: A <= margin * B for
    lower-is-better, A >= margin * B for higher-is-better); "equivalent" when it lies within +-`margin`. `control` marks a negative control:
    a statement expected NOT to hold.
    """

    id: str
    paper: int
    statement: str
    kind: ClaimKind
    task: str
    metric: str
    a: Arm
    b: Arm | None = None
    task_params: Mapping[str, Any] = field(default_factory=dict)
    effect: Literal["difference", "ratio"] = "difference"
    margin: float = 0.0
    min_seeds: int = 5
    control: bool = False
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)  #: for kinds that need more than A, B and a margin
