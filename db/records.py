"""Plain records that travel between the harness and the ledger. No database code here.

Times are timezone-aware UTC datetimes; durations are seconds; JSON columns travel as plain dicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Outcome = Literal["ok", "error", "timeout", "oom", "worker_lost", "infeasible", "invalid", "cancelled"]
OUTCOMES: tuple[Outcome, ...] = ("ok", "error", "timeout", "oom", "worker_lost", "infeasible", "invalid", "cancelled")

#: pending: waits for its first or next attempt. leased: a coordinator holds it until the lease ends. done: it has an accepted ok attempt.
#: failed: no attempts left in the outcome's retry budget. quarantined: it killed two different workers.
TrialState = Literal["pending", "leased", "done", "failed", "quarantined"]

Kind = Literal["finite", "nan", "+inf", "-inf"]

#: Against the accepted result in a fresh worker with as many numeric threads (other worker) or another number (other threads); same worker:
#: the second of two repetitions in one worker against the first.
Condition = Literal["same worker", "other worker", "other threads"]
Agreement = Literal["bitwise", "within tolerance", "different"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One (task, method, resolved params, seed). `key` is the content key that identifies it for good."""

    key: str
    family: str
    task: str
    task_version: int
    task_params: Mapping[str, Any]
    method: str
    method_version: int
    method_params: Mapping[str, Any]
    seed: int
    data_fingerprint: str
    protocol: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over steps: two sequences of equal length, steps strictly increasing."""

    metric: str
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a trial, as the coordinator hands it to the ledger. `id` is unique (made by the coordinator), so that recording
    the same attempt twice, or ingesting a spool twice, is a no-op."""

    id: str
    trial: str
    run: str
    outcome: Outcome
    started: datetime
    finished: datetime
    seconds: float  #: wall time on the worker; a seed group's time is divided evenly among its seeds
    cpu_seconds: float
    worker: str
    environment: str | None  #: hash of the Environment it ran in; None when the worker died before it could say
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""  #: one sentence
    traceback: str = ""
    stdout: str = ""  #: bounded tails
    stderr: str = ""
    next_state: TrialState = "done"  #: what the trial becomes: the coordinator's retry policy decides; ok is always "done"
    block: int | None = None  #: number of the random block in which it was interleaved with its rivals (timing-sensitive tasks)


@dataclass(frozen=True, slots=True)
class Environment:
    """Where an attempt ran: stored once per distinct content. `hash` is the sha256 of the canonical JSON of `content`."""

    hash: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation of `assay run`."""

    id: str
    suite: str
    suite_text: str  #: the suite as resolved, YAML
    engine: str
    argv: Sequence[str]  #: stored without the passwords of PostgreSQL URLs
    planned: int  #: trials in the plan, those already done included
    tags: Sequence[str] = ()  #: each 1 to 100 printable characters


@dataclass(frozen=True, slots=True)
class MetricRow:
    task: str
    metric: str
    unit: str
    direction: str
    doc: str
    is_primary: bool
    curve: str | None
    low: float | None = None  #: least and greatest legal value; None (or an infinity) when unbounded
    high: float | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    task: str
    family: str
    version: int
    label: str
    doc: str
    params_schema: Mapping[str, Any]
    metrics: Sequence[MetricRow]


@dataclass(frozen=True, slots=True)
class MethodRow:
    method: str
    family: str
    version: int
    label: str
    doc: str
    paper: int | None
    knowledge: Sequence[str]
    params_schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PaperRow:
    paper: int
    title: str
    family: str
    tier: str
    benchmark: str


@dataclass(frozen=True, slots=True)
class ClaimRow:
    claim: str
    paper: int
    family: str
    statement: str
    task: str
    metric: str
    definition: Mapping[str, Any]  #: the whole claim as JSON: kind, arms, margin, minimum seeds, control
    hash: str  #: sha256 of the canonical JSON of `definition`; a later edit shows as another hash


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """A decision about a claim, with everything that made it. Append-only; the newest per claim is the current one."""

    claim: str
    claim_hash: str
    verdict: str  #: supported, refuted, inconclusive, not attempted
    effect: float | None
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    test: str  #: the name of the test, as stated to people
    detail: Mapping[str, Any]
    trials: Sequence[str]  #: keys of the trials that made it


@dataclass(frozen=True, slots=True)
class AuditRow:
    """How well a repetition of an accepted trial agreed. There is one per repetition, so the attempt's id is also the audit's."""

    attempt: str
    condition: Condition
    verdict: Agreement
    tolerance: float  #: largest relative difference that counts as within tolerance
    deviation: float | None  #: largest relative difference over the metrics; None when the repetition has no result
    metric: str | None  #: where that is; None when all agree bitwise


@dataclass(frozen=True, slots=True)
class SubmissionRow:
    """One submission to a guarded board (a holdout that answers a limited number of questions). Holds what the submitter may see, and never
    the hidden score."""

    id: str  #: unique, made by the caller
    board: str
    submitter: str
    mechanism: str
    displayed: float | None  #: the value shown; None when none was
    released: bool  #: whether that is a new answer from the holdout
    threshold: float | None  #: the mechanism's public threshold or step
    budget_left: float | None
    method: str | None = None
    note: str = ""
    number: int = 0  #: position on its board, from 1 on; assigned by the ledger, as is
    at: datetime | None = None  #: when it was stored


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the harness knows about tasks, methods, papers and claims, written at the start of a run, so that reports need no code."""

    tasks: Sequence[TaskRow] = ()
    methods: Sequence[MethodRow] = ()
    papers: Sequence[PaperRow] = ()
    claims: Sequence[ClaimRow] = ()


@dataclass(frozen=True, slots=True)
class TrialStatus:
    """What the ledger knows of a trial: its state, its attempts by outcome, and the seconds of the accepted attempt."""

    key: str
    state: TrialState
    attempts: Mapping[str, int]
    seconds: float | None
