"""Running accepted trials again and comparing: `assay reproduce` and `assay audit`.

Every repetition is recorded as an attempt of its trial (a replicate: the accepted result never changes), with a note that says under
which condition it ran. An audit also stores how well each repetition agreed.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import yaml

from db.ledger import Ledger
from db.records import Agreement, Attempt, AuditRow, Condition, Curve, Environment, Outcome
from harness.engines.base import Call, CallEnded, EngineSettings, TrialUnit, UnitDone
from harness.engines.process import ProcessEngine
from harness.errors import HarnessError
from harness.identity import content_key
from tasks.api import CLOCK_UNITS, PROTOCOL
from tasks.errors import TaskError
from tasks.registry import Registry, resolve

#: A repetition may take so many times as long as the accepted result did, whatever the task's own time limit: the suite's was longer then.
PATIENCE = 10.0

#: Two values count as equal up to rounding when they differ by at most this, relative to the larger one or to FLOOR.
TOLERANCE, FLOOR = 1e-6, 1e-3


class CannotReproduce(HarnessError):
    """A trial that this code or this machine can't run again as it was."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one repetition against the accepted value; of a curve the point that differs most, at `step`."""

    trial: str
    task: str
    condition: str
    metric: str
    accepted: float
    again: float
    agreement: Agreement | Literal["clock"]
    step: float | None = None


def deviation(one: float, other: float) -> float:
    """Relative difference |one - other| / max(|one|, |other|, 0.001); infinite when one is not finite and the other is another value."""
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    difference = abs(one - other) / max(abs(one), abs(other), FLOOR)
    return difference if math.isfinite(difference) else math.inf


def compare(accepted: float, again: float, unit: str) -> Agreement | Literal["clock"]:
    """How well a repeated value agrees with the accepted one (both may be NaN or infinite)."""
    if unit in CLOCK_UNITS:
        return "clock"
    difference = deviation(accepted, again)
    return "bitwise" if difference == 0 else "within tolerance" if difference <= TOLERANCE else "different"


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a trial measured: value by metric, and value by step by metric."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Mapping[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A trial's row with its accepted result and what is needed to run it again."""

    unit: TrialUnit
    accepted: Numbers
    units: Mapping[str, str]  #: of each metric
    plugins: tuple[str, ...]
    threads: int | None  #: numeric threads of the worker that made the result, where its environment says so

    @property
    def key(self) -> str:
        return self.unit.keys[0]


@dataclass(frozen=True, slots=True)
class Repetition:
    """What running a trial again gave, and the attempt it is recorded as."""

    attempt: str
    outcome: Outcome
    error: str
    numbers: Numbers


def repeatable(ledger: Ledger, registry: Registry, key: str) -> Repeatable:
    """The trial as a unit; CannotReproduce when it has no accepted result or the code or data are no longer those it ran with."""
    row = ledger.query("SELECT * FROM trials WHERE trial = :key", {"key": key}).to_pylist()[0]
    if row["attempt"] is None:
        raise CannotReproduce(f"Trial {key[:12]} has no accepted result to compare with (state {row['state']}).")
    plugins = _plugins(ledger, key)
    try:
        for plugin in plugins:
            registry.load_plugin(plugin)
        task_class, method_class = registry.task(row["task"]), registry.method(row["method"])
        for what, now, then in (
            (f"task {row['task']}", task_class.version, row["task_version"]),
            (f"method {row['method']}", method_class.version, row["method_version"]),
            ("the protocol", PROTOCOL, row["protocol"]),
        ):
            if now != then:
                raise CannotReproduce(
                    f"Trial {key[:12]} ran with version {then} of {what}; this code has version {now}. Check out the older code."
                )
        task = resolve(task_class, json.loads(row["task_params"]), f"task {row['task']}")
    except TaskError as error:
        raise CannotReproduce(f"Trial {key[:12]} can't run with this code: {error}") from error
    if task.data_fingerprint() != row["data_fingerprint"]:
        raise CannotReproduce(f"Trial {key[:12]} read other data than this machine has (fingerprint {row['data_fingerprint'][:12]}).")
    scores = ledger.query("SELECT metric, value, kind FROM scores WHERE trial = :key", {"key": key}).to_pylist()
    metrics = {score["metric"]: _number(score) for score in scores}
    curves: dict[str, dict[float, float]] = {}
    for point in ledger.query("SELECT metric, step, value, kind FROM curves WHERE trial = :key", {"key": key}).to_pylist():
        curves.setdefault(point["metric"], {})[point["step"]] = _number(point)
    declared = ledger.query("SELECT metric, unit FROM metrics WHERE task = :task", {"task": row["task"]}).to_pylist()
    units = {metric["metric"]: metric["unit"] for metric in declared}
    params, method_params = json.loads(row["task_params"]), json.loads(row["method_params"])
    timeout = max(task_class.timeout, PATIENCE * row["seconds"])
    unit = TrialUnit(row["task"], params, row["method"], method_params, (row["seed"],), (key,), timeout)
    threads = ledger.query(
        "SELECT e.threads AS threads FROM attempts a JOIN environments e ON e.environment = a.environment WHERE a.attempt = :attempt",
        {"attempt": row["attempt"]},
    ).to_pylist()
    return Repeatable(unit, Numbers(metrics, curves), units, plugins, threads[0]["threads"] if threads else None)


def repeat(ledger: Ledger, run: str, trial: Repeatable, settings: EngineSettings, notes: Sequence[str]) -> list[Repetition]:
    """Run the trial once per note, all in one fresh worker process, and record each time as an attempt whose info holds the note."""
    engine = ProcessEngine()
    call = Call(0, (trial.unit,) * len(notes), plugins=trial.plugins)
    done: list[UnitDone] = []
    ended: CallEnded | None = None
    try:
        engine.start(settings, [call.shape])
        engine.submit(call)
        while ended is None:
            for event in engine.poll(1.0):
                if isinstance(event, UnitDone):
                    done.append(event)
                else:
                    ended = event
    finally:
        engine.stop()
    if len(done) < len(notes):
        raise CannotReproduce(f"Trial {trial.key[:12]}: the worker went away ({ended.lost}): {ended.detail}")
    return [_record(ledger, run, trial, note, event) for note, event in zip(notes, done, strict=True)]


def against_accepted(trial: Repeatable, condition: str, again: Repetition) -> list[Comparison]:
    """Every metric of a repetition beside the accepted value; CannotReproduce when the repetition has no result."""
    if again.outcome != "ok":
        raise CannotReproduce(f"Trial {trial.key[:12]} was ok and now ends as {again.outcome}: {again.error}")
    return _compared(trial, condition, trial.accepted, again)


def audit(ledger: Ledger, run: str, trial: Repeatable, settings: EngineSettings) -> None:
    """Repeat the trial twice in one fresh worker with as many threads as its result had, and once in another with another number of
    threads; record how well each repetition agrees (view `audits`)."""
    threads = trial.threads or settings.threads
    first, second = repeat(ledger, run, trial, replace(settings, threads=threads), ["other worker", "same worker"])
    (third,) = repeat(ledger, run, trial, replace(settings, threads=1 if threads > 1 else 2), ["other threads"])
    ledger.record_audits(
        [
            audit_row("other worker", first, _compared(trial, "other worker", trial.accepted, first)),
            audit_row("same worker", second, _compared(trial, "same worker", first.numbers, second)),
            audit_row("other threads", third, _compared(trial, "other threads", trial.accepted, third)),
        ]
    )


def audit_row(condition: Condition, again: Repetition, comparisons: Sequence[Comparison]) -> AuditRow:
    """The worst of the comparisons decides; clock readings are left out. A repetition without a result is different."""
    if again.outcome != "ok":
        return AuditRow(again.attempt, condition, "different", TOLERANCE, None, None)
    compared = [(deviation(item.accepted, item.again), item.metric) for item in comparisons if item.agreement != "clock"]
    largest, metric = max(compared, default=(0.0, None))
    verdict: Agreement = "bitwise" if largest == 0 else "within tolerance" if largest <= TOLERANCE else "different"
    return AuditRow(again.attempt, condition, verdict, TOLERANCE, largest, metric if largest else None)


def sample(ledger: Ledger, count: int, family: str | None) -> list[str]:
    """Keys of up to `count` done trials, spread over tasks and methods and the same for the same ledger."""
    where = " AND family = :family" if family else ""
    rows = ledger.query(
        f"SELECT trial, task, method FROM trials WHERE state = 'done'{where} ORDER BY trial", {"family": family} if family else {}
    ).to_pylist()
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["method"]), []).append(row["trial"])
    picked: list[str] = []
    for depth in range(max(map(len, groups.values()), default=0)):
        picked += [keys[depth] for _, keys in sorted(groups.items()) if depth < len(keys)]
    return picked[:count]


def _plugins(ledger: Ledger, key: str) -> tuple[str, ...]:
    """The plugins of the newest run that planned this trial."""
    rows = ledger.query(
        "SELECT r.suite_text AS suite_text FROM runs r JOIN run_trials t ON t.run = r.run"
        " WHERE t.trial = :key ORDER BY r.started DESC LIMIT 1",
        {"key": key},
    ).to_pylist()
    suite = yaml.safe_load(rows[0]["suite_text"]) if rows else {}
    return tuple(suite.get("plugins", ()) if isinstance(suite, dict) else ())


def _record(ledger: Ledger, run: str, trial: Repeatable, note: str, event: UnitDone) -> Repetition:
    (result,) = event.results
    attempt = secrets.token_hex(16)
    environment = Environment(content_key(event.environment), event.environment)
    ledger.record(
        [
            Attempt(
                id=attempt,
                trial=result.key,
                run=run,
                outcome=result.outcome,
                started=event.started,
                finished=event.finished,
                seconds=event.seconds,
                cpu_seconds=event.cpu_seconds,
                worker=event.worker,
                environment=environment.hash,
                metrics=result.metrics,
                curves=[Curve(metric, steps, values) for metric, (steps, values) in result.curves.items()],
                info={**result.info, "repeated": note, "at": datetime.now(UTC).isoformat()},
                error=result.error,
                traceback=result.traceback,
                stdout=event.stdout,
                stderr=event.stderr,
                next_state="done",
            )
        ],
        [environment],
    )
    curves = {metric: dict(zip(steps, values, strict=True)) for metric, (steps, values) in result.curves.items()}
    return Repetition(attempt, result.outcome, result.error, Numbers(result.metrics, curves))


def _number(row: Mapping[str, Any]) -> float:
    """The value of a row of `scores` or `curves`."""
    return float(row["value"] if row["kind"] == "finite" else row["kind"])


def _compared(trial: Repeatable, condition: str, before: Numbers, again: Repetition) -> list[Comparison]:
    """The trial's metrics in two runs; what a run lacks counts as NaN."""

    def comparison(metric: str, one: float, two: float, step: float | None = None) -> Comparison:
        agreement = compare(one, two, trial.units.get(metric, ""))
        return Comparison(trial.key, trial.unit.task, condition, metric, one, two, agreement, step)

    after = again.numbers
    made = [
        comparison(metric, before.metrics.get(metric, math.nan), after.metrics.get(metric, math.nan))
        for metric in sorted(trial.accepted.metrics)
    ]
    for metric in sorted(before.curves.keys() | after.curves.keys()):
        one, two = before.curves.get(metric, {}), after.curves.get(metric, {})
        pairs = {step: (one.get(step, math.nan), two.get(step, math.nan)) for step in sorted(one.keys() | two.keys())}
        if pairs:
            worst = max(pairs, key=lambda step: deviation(*pairs[step]))
            made.append(comparison(metric, *pairs[worst], worst))
    return made
