"""Running accepted trials again and comparing: `assay reproduce` and `assay audit`.

Every repetition is recorded as an attempt of its trial (a replicate: the accepted result never changes), with a note that says under
which condition it ran.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import yaml

from db.ledger import Ledger
from db.records import Attempt, Curve, Environment
from harness.engines.base import Call, CallEnded, EngineSettings, TrialUnit, UnitDone
from harness.engines.process import ProcessEngine
from harness.errors import HarnessError
from harness.identity import content_key
from tasks.api import CLOCK_UNITS, PROTOCOL
from tasks.registry import Registry, resolve

#: Within this relative (or, near zero, absolute) distance two values count as equal up to rounding.
TOLERANCE, NEAR_ZERO = 1e-6, 1e-9

Agreement = Literal["bitwise", "within tolerance", "different", "clock"]


class CannotReproduce(HarnessError):
    """A trial that this code or this machine can't run again as it was."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one repetition against the accepted value."""

    trial: str
    task: str
    condition: str
    metric: str
    accepted: float
    again: float
    agreement: Agreement


def compare(accepted: float, again: float, unit: str) -> Agreement:
    """How well a repeated value agrees with the accepted one (both may be NaN or infinite)."""
    if unit in CLOCK_UNITS:
        return "clock"
    if accepted == again or (math.isnan(accepted) and math.isnan(again)):
        return "bitwise"
    if math.isclose(accepted, again, rel_tol=TOLERANCE, abs_tol=NEAR_ZERO):
        return "within tolerance"
    return "different"


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A trial's row with its accepted scores and what is needed to run it again."""

    unit: TrialUnit
    scores: Mapping[str, tuple[float, str]]  #: metric -> (value, unit)
    plugins: tuple[str, ...]


def repeatable(ledger: Ledger, registry: Registry, key: str) -> Repeatable:
    """The trial as a unit; CannotReproduce when it has no accepted result or the code or data are no longer those it ran with."""
    row = ledger.query("SELECT * FROM trials WHERE trial = :key", {"key": key}).to_pylist()[0]
    if row["attempt"] is None:
        raise CannotReproduce(f"Trial {key[:12]} has no accepted result to compare with (state {row['state']}).")
    plugins = _plugins(ledger, key)
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
    if task.data_fingerprint() != row["data_fingerprint"]:
        raise CannotReproduce(f"Trial {key[:12]} read other data than this machine has (fingerprint {row['data_fingerprint'][:12]}).")
    special = {"nan": math.nan, "+inf": math.inf, "-inf": -math.inf}
    scores = {
        score["metric"]: (score["value"] if score["kind"] == "finite" else special[score["kind"]], score["unit"])
        for score in ledger.query("SELECT metric, value, kind, unit FROM scores WHERE trial = :key", {"key": key}).to_pylist()
    }
    params, method_params = json.loads(row["task_params"]), json.loads(row["method_params"])
    unit = TrialUnit(row["task"], params, row["method"], method_params, (row["seed"],), (key,), task_class.timeout)
    return Repeatable(unit, scores, plugins)


def repeat(ledger: Ledger, run: str, trial: Repeatable, settings: EngineSettings, conditions: Sequence[str]) -> list[Comparison]:
    """Run the trial once per condition in one fresh worker process, record each time as an attempt, compare it with the accepted result."""
    engine = ProcessEngine()
    call = Call(0, (trial.unit,) * len(conditions), plugins=trial.plugins)
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
    if len(done) < len(conditions):
        raise CannotReproduce(f"Trial {trial.unit.keys[0][:12]}: the worker went away ({ended.lost}): {ended.detail}")
    comparisons: list[Comparison] = []
    for condition, event in zip(conditions, done, strict=True):
        _record(ledger, run, trial, condition, event)
        comparisons += _compared(trial, condition, event)
    return comparisons


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


def summarise(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Per task and condition: how many values agree bitwise, within tolerance, differ; clock readings left out."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for item in comparisons:
        if item.agreement == "clock":
            continue
        row = table.setdefault(
            (item.task, item.condition),
            {"task": item.task, "condition": item.condition, "bitwise": 0, "within tolerance": 0, "different": 0},
        )
        row[item.agreement] += 1
    return [row for _, row in sorted(table.items())]


def _plugins(ledger: Ledger, key: str) -> tuple[str, ...]:
    """The plugins of the newest run that planned this trial."""
    rows = ledger.query(
        "SELECT r.suite_text AS suite_text FROM runs r JOIN run_trials t ON t.run = r.run"
        " WHERE t.trial = :key ORDER BY r.started DESC LIMIT 1",
        {"key": key},
    ).to_pylist()
    suite = yaml.safe_load(rows[0]["suite_text"]) if rows else {}
    return tuple(suite.get("plugins", ()) if isinstance(suite, dict) else ())


def _record(ledger: Ledger, run: str, trial: Repeatable, condition: str, event: UnitDone) -> None:
    (result,) = event.results
    environment = Environment(content_key(event.environment), event.environment)
    ledger.record(
        [
            Attempt(
                id=secrets.token_hex(16),
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
                info={**result.info, "repeated": condition, "at": datetime.now(UTC).isoformat()},
                error=result.error,
                traceback=result.traceback,
                stdout=event.stdout,
                stderr=event.stderr,
                next_state="done",
            )
        ],
        [environment],
    )


def _compared(trial: Repeatable, condition: str, event: UnitDone) -> list[Comparison]:
    (result,) = event.results
    if result.outcome != "ok":
        raise CannotReproduce(f"Trial {result.key[:12]} was ok and now ends as {result.outcome}: {result.error}")
    key, task = result.key, trial.unit.task
    return [
        Comparison(key, task, condition, metric, value, (again := result.metrics.get(metric, math.nan)), compare(value, again, unit))
        for metric, (value, unit) in sorted(trial.scores.items())
    ]
