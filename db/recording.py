"""The hot path: attempts, their measurements and the trials' new states, in one transaction."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from db import summary
from db.dictionaries import Dictionaries, next_id
from db.errors import LedgerError
from db.points import Points
from db.records import Attempt, Curve, Environment, TrialState
from db.values import canonical_json, clean, typed, utc

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.backends.base import Backend, Row

ATTEMPT = (
    "id", "key", "trial_id", "run_id", "number", "outcome", "accepted", "started", "finished", "seconds", "cpu_seconds", "worker",
    "environment_id", "error", "info", "block",
)  # fmt: skip
ATTEMPT_TEXT = ("attempt_id", "traceback", "stdout", "stderr")
CURVE_POINT = ("attempt_id", "metric_id", "step", "value", "kind")
#: So few values go in one by one: numpy's overhead is worth a hundred, and who commits each attempt alone would always pay it.
FEW_VALUES = 32
MOVED = {"state": "text", "attempts": "bigint", "accepted_id": "bigint", "last_id": "bigint"}
#: The same for an attempt that arrives late and must not take a lease away.
LATE = {"attempts": "bigint", "last_id": "bigint"}


@dataclass(slots=True)
class _Trial:
    """A trial as it is in the ledger, changed attempt by attempt."""

    id: int
    task: str
    task_config: int
    method_config: int
    state: TrialState
    attempts: int
    accepted: int | None
    last: int | None
    moved: bool = False  #: its state changed (a lease ends then)


class Stored(NamedTuple):
    """What became of an attempt: its trial, and whether it is the trial's accepted result."""

    trial: _Trial
    accepted: bool

    @property
    def arm(self) -> tuple[int, int]:
        """Ids of task configuration and method configuration."""
        return self.trial.task_config, self.trial.method_config


def record(backend: Backend, dictionaries: Dictionaries, attempts: Sequence[Attempt], environments: Sequence[Environment]) -> int:
    """See `Ledger.record`."""
    if not attempts and not environments:
        return 0
    with no_garbage_collection(), backend.write() as connection:
        dictionaries.environments(connection, environments)
        attempts = unseen(backend, connection, attempts)
        if not attempts:
            return 0
        first = next_id(backend, connection, "attempt")
        stored = store_attempts(backend, dictionaries, connection, attempts, first)
        _store_scalars(backend, dictionaries, connection, attempts, stored, first)
        if any(attempt.curves for attempt in attempts):
            _store_curves(backend, dictionaries, connection, attempts, stored, first)
    return len(attempts)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """A group makes thousands of tuples and no cycles: looking for some among them took a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def store_attempts(
    backend: Backend, dictionaries: Dictionaries, connection: Connection, attempts: Sequence[Attempt], first: int
) -> list[Stored]:
    """Insert unseen attempts with ids from `first` on and move their trials, without measurements; what became of each, in order."""
    trials = _trials(backend, connection, {attempt.trial for attempt in attempts})
    runs = dictionaries.run_ids(connection, {attempt.run for attempt in attempts})
    environments = dictionaries.environment_ids(
        connection, {attempt.environment for attempt in attempts if attempt.environment is not None}
    )
    _refuse_unknown(attempts, trials, runs, environments)
    rows: list[Row] = []
    texts: list[Row] = []
    stored: list[Stored] = []
    for identity, attempt in enumerate(attempts, first):
        trial = trials[attempt.trial]
        accept = attempt.outcome == "ok" and trial.accepted is None
        _advance(trial, attempt, identity, accept)
        environment = None if attempt.environment is None else environments[attempt.environment]
        rows.append(_attempt_row(backend, attempt, identity, trial, runs[attempt.run], accept, environment))
        if attempt.traceback or attempt.stdout or attempt.stderr:
            texts.append((identity, clean(attempt.traceback), clean(attempt.stdout), clean(attempt.stderr)))
        stored.append(Stored(trial, accept))
    backend.insert(connection, "attempt", ATTEMPT, rows)
    backend.insert(connection, "attempt_text", ATTEMPT_TEXT, texts)
    moved = [(trial.state, trial.attempts, trial.accepted, trial.last, trial.id) for trial in trials.values() if trial.moved]
    late = [(trial.attempts, trial.last, trial.id) for trial in trials.values() if not trial.moved]
    update_trials(backend, connection, moved, late)
    return stored


def update_trials(backend: Backend, connection: Connection, moved: Sequence[Row], late: Sequence[Row]) -> None:
    """New states of trials (their leases end) in the order of `MOVED`, and new counts of others in the order of `LATE`; each row ends with
    the trial's id."""
    backend.update(connection, "trial", MOVED, {"id": "bigint"}, moved, "lease_owner = NULL, lease_until = NULL")
    backend.update(connection, "trial", LATE, {"id": "bigint"}, late)


def _store_scalars(
    backend: Backend, dictionaries: Dictionaries, connection: Connection, attempts: Sequence[Attempt], stored: Sequence[Stored], first: int
) -> None:
    wanted: set[tuple[str, str]] = set()
    for attempt, item in zip(attempts, stored, strict=True):
        wanted.update(zip(repeat(item.trial.task), attempt.metrics, strict=False))
    metric_ids: dict[str, dict[str, int]] = {}
    for (task, metric), metric_id in dictionaries.metrics(connection, wanted, None).items():
        metric_ids.setdefault(task, {})[metric] = metric_id
    sizes: list[int] = []
    metrics: list[int] = []
    values: list[float] = []
    arms: dict[tuple[int, int], int] = {}
    arm: list[int] = []
    for attempt, item in zip(attempts, stored, strict=True):
        sizes.append(len(attempt.metrics))
        arm.append(arms.setdefault(item.arm, len(arms)) if item.accepted else -1)
        if attempt.metrics:
            metrics += map(metric_ids[item.trial.task].__getitem__, attempt.metrics)
            values += map(float, attempt.metrics.values())
    if len(values) <= FEW_VALUES:
        ends = list(accumulate(sizes))
        some = [(metrics[end - size : end], values[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
        backend.insert_measurements(connection, [(identity, *pair) for identity, pair in enumerate(some, first) if pair[0]])
        accepted = [(item.arm, *pair) for item, pair in zip(stored, some, strict=True) if item.accepted]
        cells = [(summary.Cell(*arm, metric), value) for arm, *pair in accepted for metric, value in zip(*pair, strict=True)]
        summary.add_few(backend, connection, cells)
        return
    ids = np.repeat(np.arange(first, first + len(attempts)), sizes)
    points = Points(ids, np.array(metrics, dtype=np.int64), np.array(values, dtype=np.float64))
    backend.insert_points(connection, [points] if len(points) else [])
    summary.add(backend, connection, summary.collect(points, np.repeat(np.array(arm), sizes), list(arms)))


def _store_curves(
    backend: Backend, dictionaries: Dictionaries, connection: Connection, attempts: Sequence[Attempt], stored: Sequence[Stored], first: int
) -> None:
    wanted = {(item.trial.task, curve.metric) for attempt, item in zip(attempts, stored, strict=True) for curve in attempt.curves}
    metric_ids = dictionaries.metrics(connection, wanted, "step")
    points: list[Row] = []
    for identity, (attempt, item) in enumerate(zip(attempts, stored, strict=True), first):
        if len({curve.metric for curve in attempt.curves}) < len(attempt.curves):
            raise LedgerError(f"Attempt {attempt.id} has two curves of one metric; put all steps into one.")
        for curve in attempt.curves:
            _check_steps(curve, attempt)
            metric_id = metric_ids[item.trial.task, curve.metric]
            points.extend((identity, metric_id, float(step), *typed(value)) for step, value in zip(curve.steps, curve.values, strict=True))
    backend.insert(connection, "curve_point", CURVE_POINT, points)


def unseen(backend: Backend, connection: Connection, attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts that the ledger does not hold, each once."""
    distinct = {attempt.id: attempt for attempt in reversed(attempts)}  # the first of several with one id wins
    query = f"SELECT key FROM attempt WHERE {backend.member('key', 'keys')}"
    for (seen,) in backend.rows(connection, query, {"keys": backend.keys(list(distinct))}):
        del distinct[seen]
    return list(reversed(distinct.values()))


def _trials(backend: Backend, connection: Connection, keys: set[str]) -> dict[str, _Trial]:
    query = (
        "SELECT t.key, t.id, c.task, t.task_config_id, t.method_config_id, t.state, t.attempts, t.accepted_id, t.last_id "
        f"FROM trial t JOIN task_config c ON c.id = t.task_config_id WHERE {backend.member('t.key', 'keys')} ORDER BY t.id "
        + backend.for_update.format(table="t")
    )
    return {key: _Trial(*row) for key, *row in backend.rows(connection, query, {"keys": backend.keys(list(keys))})}


def _refuse_unknown(attempts: Sequence[Attempt], trials: dict[str, Any], runs: dict[str, int], environments: dict[str, int]) -> None:
    for attempt in attempts:
        if attempt.trial not in trials:
            raise LedgerError(f"Attempt {attempt.id} belongs to trial {attempt.trial}, which was never submitted; call submit() first.")
        if attempt.run not in runs:
            raise LedgerError(f"Attempt {attempt.id} belongs to run {attempt.run}, which was never started; call start_run() first.")
        if attempt.environment is not None and attempt.environment not in environments:
            raise LedgerError(
                f"Attempt {attempt.id} ran in environment {attempt.environment}, which the ledger does not hold; pass it to record()."
            )


def _advance(trial: _Trial, attempt: Attempt, identity: int, accept: bool) -> None:
    """Apply the rules of `Ledger.record` to the trial's state."""
    trial.attempts += 1
    trial.last = identity
    if accept:
        trial.accepted, trial.state, trial.moved = identity, "done", True
    elif trial.state in ("pending", "leased"):
        # A coordinator that has lost its trial to another must not hand it back; it can't know, so `next_state` "leased" means: leave it.
        if attempt.next_state in ("pending", "failed", "quarantined"):
            trial.state, trial.moved = attempt.next_state, True
        elif attempt.next_state != "leased":
            raise LedgerError(f"Attempt {attempt.id} ended with {attempt.outcome}: its trial can't become {attempt.next_state!r}.")
    elif trial.state == "failed" and attempt.next_state == "quarantined":
        trial.state, trial.moved = "quarantined", True


def _attempt_row(backend: Backend, attempt: Attempt, identity: int, trial: _Trial, run: int, accept: bool, environment: int | None) -> Row:
    time = backend.time
    if not math.isfinite(attempt.seconds + attempt.cpu_seconds):
        raise LedgerError(f"Attempt {attempt.id} took {attempt.seconds} s, {attempt.cpu_seconds} s of CPU; durations are finite numbers.")
    return (
        identity,
        attempt.id,
        trial.id,
        run,
        trial.attempts,
        attempt.outcome,
        int(accept),
        time(attempt.started if attempt.started.tzinfo is UTC else utc(attempt.started, attempt.id)),
        time(attempt.finished if attempt.finished.tzinfo is UTC else utc(attempt.finished, attempt.id)),
        float(attempt.seconds),
        float(attempt.cpu_seconds),
        clean(attempt.worker),
        environment,
        clean(attempt.error),
        canonical_json(dict(attempt.info)) if attempt.info else "{}",
        attempt.block,
    )


def _check_steps(curve: Curve, attempt: Attempt) -> None:
    if len(curve.steps) != len(curve.values):
        raise LedgerError(f"Curve {curve.metric} of attempt {attempt.id} has {len(curve.steps)} steps but {len(curve.values)} values.")
    ends = (*curve.steps[:1], *curve.steps[-1:])
    if not all(low < high for low, high in pairwise(curve.steps)) or not all(math.isfinite(step) for step in ends):
        raise LedgerError(f"Curve {curve.metric} of attempt {attempt.id} has steps that are not strictly increasing finite numbers.")
