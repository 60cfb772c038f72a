"""What the scheduler tells whoever watches a run (the progress view, `--json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from db.records import Outcome, Trial, TrialState


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Workers are being brought up; `trials` are to be run."""

    run: str
    trials: int
    fixtures: int
    engine: str


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial has reached its end: `state` is done, failed or quarantined. `error` is a sentence, empty when it is done."""

    key: str
    outcome: Outcome
    seconds: float
    metrics: Mapping[str, float]
    state: TrialState
    trial: Trial
    worker: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class TrialRetried:
    """An attempt did not succeed; there will be another after `delay` seconds."""

    key: str
    outcome: Outcome
    error: str
    delay: float
    trial: Trial


@dataclass(frozen=True, slots=True)
class TrialElsewhere:
    """Another coordinator has brought this trial to an end."""

    key: str
    state: TrialState


@dataclass(frozen=True, slots=True)
class FixtureStarted:
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class FixtureBuilt:
    """`error` is empty when it is there; otherwise the trials that need it end with that sentence."""

    key: str
    name: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Working:
    """About once a second: trials that are with workers now, those that wait, workers, the expected worker seconds of what is left, GPUs
    in use, and in words what the engine waits for (nodes of a cluster that grows)."""

    running: int
    waiting: int
    workers: int
    seconds_left: float
    gpus: float = 0.0
    engine_waits: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for a person (ledger unreachable, draining, ...)."""

    text: str


ProgressEvent = RunStarted | TrialFinished | TrialRetried | TrialElsewhere | FixtureStarted | FixtureBuilt | Working | Notice
