"""The protocol between the scheduler and the engines: calls go in, events come out.

A *unit* is one invocation of a task (one method, one or more seeds) or the build of one fixture. A *call* is a batch of units that
travels to a worker together. Everything here is plain data that pickles small; workers import what they need by name.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from db.records import Outcome


@dataclass(frozen=True, slots=True)
class Shape:
    """Resources one worker holds. `memory` in bytes (0: no limit). `exclusive`: nothing else of the run executes on its machine while it
    executes, and there is one such worker at a time, so that clocks can be compared."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0
    custom: tuple[tuple[str, float], ...] = ()
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class TrialUnit:
    """Run `method` on `task` for `seeds`; `keys` are the trials' keys in the same order. `timeout` is for the whole unit, seconds."""

    task: str
    task_params: Mapping[str, Any]
    method: str
    method_params: Mapping[str, Any]
    seeds: tuple[int, ...]
    keys: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class FixtureUnit:
    """Build a fixture (by registry name and params) if no one has yet."""

    fixture: str
    params: Mapping[str, Any]
    key: str
    timeout: float


Unit = TrialUnit | FixtureUnit

#: A call expected to take longer than this never waits behind another at a worker: a free worker may turn up first.
SHORT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    """A batch of units for one worker, executed in order."""

    id: int
    units: tuple[Unit, ...]
    shape: Shape = Shape()
    plugins: tuple[str, ...] = ()
    seconds: float = 0.0  #: expected duration; the engine keeps long calls from queueing behind each other
    budget: float = math.inf  #: after so many seconds the worker hands back the units it has not begun
    affinity: str = ""  #: calls of the same kind (fixture, task) prefer a worker that ran one before


@dataclass(frozen=True, slots=True)
class TrialResult:
    """How one trial of a unit ended on the worker. Metrics are validated against the task's declaration."""

    key: str
    outcome: Outcome
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class UnitDone:
    """A unit ended on a living worker: one TrialResult per key (for a fixture: one, keyed by the fixture's key)."""

    call: int
    unit: int  #: index in the call
    results: tuple[TrialResult, ...]
    started: datetime
    finished: datetime
    seconds: float
    cpu_seconds: float
    worker: str
    environment: Mapping[str, Any]  #: content; the scheduler hashes it
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The last event of a call. `lost` is None when the worker could go on; otherwise why it went away, and `unit` is the index of the unit
    it was executing (the culprit; None when it had not begun any, or nobody can tell). Units without a UnitDone that are not the culprit
    never ran to an end, carry no blame and are handed back (after the call's budget, a stop, or a worker's death)."""

    call: int
    worker: str
    lost: Literal["timeout", "oom", "worker_lost", "cancelled"] | None = None
    unit: int | None = None
    detail: str = ""
    stdout: str = ""
    stderr: str = ""
    started: datetime | None = None  #: when the culprit unit began
    finished: datetime | None = None
    external: bool = False  #: the worker was taken away (SIGKILL, lost node) rather than brought down by what it executed
    unwatched: bool = False  #: whoever watched the worker is gone, too (an actor, a node): what it had begun is not known


Event = UnitDone | CallEnded


def numeric_libraries() -> tuple[str, ...]:
    """Those that this process has imported, with the tasks of its plan: then its workers need them, too."""
    return tuple(name for name in ("numpy", "torch") if name in sys.modules)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What every engine needs to know. `workers` None: as many as the machine (or cluster) carries for the shape."""

    cache_dir: str
    workers: int | None = None
    device: str = "cpu"
    address: str | None = None  #: of an existing Ray cluster
    preload: tuple[str, ...] = field(default_factory=numeric_libraries)  #: imported once per machine, before the first worker is forked
    threads: int = 1  #: BLAS/OMP threads per worker; more than one changes bits and speed of neighbours


@dataclass(frozen=True, slots=True)
class Usage:
    """What an engine holds at a moment: workers that could execute, GPUs of those that do, and in words what it waits for (nodes of a
    cluster that grows; empty: nothing)."""

    workers: int
    gpus: float = 0.0
    waiting: str = ""


class Engine(Protocol):
    """Executes calls. One thread drives it; it never opens the ledger and never decides about retries."""

    name: str
    isolated: bool  #: survives units that kill their process, and enforces limits on those that do not yield

    def prepare(self, settings: EngineSettings) -> None:
        """Begin in the background what takes long and depends on no plan. Optional; `start` or `stop` comes next."""
        ...

    def start(self, settings: EngineSettings, shapes: Sequence[Shape]) -> None:
        """Bring workers up for these shapes. Raises EngineError naming a shape nothing can satisfy."""
        ...

    def slots(self, shape: Shape) -> int:
        """How many calls of this shape are worth having in flight now (workers times pipelining depth)."""
        ...

    def workers(self, shape: Shape) -> int:
        """How many calls of this shape execute at the same time."""
        ...

    def submit(self, call: Call) -> None:
        """Queue a call. Returns at once (the inline engine executes in `poll`)."""
        ...

    def poll(self, timeout: float) -> list[Event]:
        """Events that have arrived, waiting up to `timeout` seconds for the first. Each call yields its UnitDones in order, then one
        CallEnded."""
        ...

    def usage(self) -> Usage:
        """What is in use now, for people who watch."""
        ...

    def hand_back(self) -> None:
        """End the calls that no worker has yet, without loss: what has not begun when a run drains need not be waited for."""
        ...

    def cancel(self, call: int) -> None:
        """End a call, softly first. Its CallEnded arrives with lost="cancelled" unless it finished first. Unknown ids are ignored."""
        ...

    def stop(self) -> None:
        """End the workers this engine started, and nothing else. Idempotent."""
        ...
