"""From a result to its consequences: one attempt for the ledger, one decision about the trial, one event for whoever watches."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from db.records import Attempt, Curve, Outcome, TrialState
from harness.engines.base import CallEnded, TrialResult, UnitDone
from harness.leases import Leases
from harness.outcomes import History, decide
from harness.planned import PlannedTrial
from harness.progress_events import ProgressEvent, TrialElsewhere, TrialFinished, TrialRetried
from harness.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended. `done` and `failed` count trials of the plan's `todo` (ended here or by another coordinator), `left` the rest.
    `attempts` counts the attempts of this run by outcome."""

    attempts: Mapping[Outcome, int]
    done: int
    failed: int
    left: int
    interrupted: bool
    seconds: float
    spooled: bool = False  #: results wait in the spool, because the ledger was not to be reached


class Settler:
    """Counts what has become of the plan's trials. `done` and `failed` include those that another coordinator has ended."""

    def __init__(
        self, run_id: str, recorder: Recorder, leases: Leases, emit: Callable[[ProgressEvent], None], blocks: Mapping[str, int]
    ) -> None:
        self._run_id, self._recorder, self._leases, self._emit, self._blocks = run_id, recorder, leases, emit, blocks
        self._numbers = itertools.count(1)
        self._histories: dict[str, History] = {}
        self._late: set[str] = set()  #: trials that a worker believed dead has finished after all, before any other
        self._ended: dict[str, TrialState] = {}
        self.attempts: Counter[Outcome] = Counter()
        self.done = self.failed = 0

    def settle(
        self, planned: PlannedTrial, result: TrialResult, event: UnitDone | CallEnded, seconds: float, cpu_seconds: float = 0.0
    ) -> float | None:
        """Record an attempt and decide; returns the seconds to wait before the next one, None when there is none to be made."""
        key, outcome, error = planned.trial.key, result.outcome, result.error
        state: TrialState = "done"
        delay = 0.0
        if outcome != "ok":
            history = self._history(key)
            decision = decide(history, outcome, event.worker, isinstance(event, CallEnded) and event.external)
            state, delay = decision.state, decision.delay
            if state == "quarantined":
                workers = ", ".join(sorted(history.killed)) or f"{history.counts['worker_lost']} workers"
                error += f" Quarantined: it took {workers} with it; each attempt holds its worker's last output."
        # A retry keeps its lease ("leased"), so that nobody else takes the trial meanwhile.
        self._record(planned, result, event, seconds, cpu_seconds, "leased" if state == "pending" else state, error)
        if key in self._late:
            return None  # its late result has been counted
        if state == "pending":
            self._emit(TrialRetried(key, outcome, error, delay, planned.trial))
            return delay
        self._finish(planned, outcome, seconds, result.metrics, state, event.worker, error)
        return None

    def settle_late(self, planned: PlannedTrial, result: TrialResult, event: UnitDone, seconds: float, cpu_seconds: float) -> None:
        """Record the result of a worker that was believed dead; the trial may be running again, or be done."""
        ok, key = result.outcome == "ok", planned.trial.key
        self._record(planned, result, event, seconds, cpu_seconds, "done" if ok else "leased", result.error)
        if not ok or self._ended.get(key) == "done":
            return
        if key in self._ended:  # it had failed: this run's other attempts came to nothing
            self.failed -= 1
        self._late.add(key)
        self._finish(planned, "ok", seconds, result.metrics, "done", event.worker, "")

    def is_settled_late(self, key: str) -> bool:
        """Whether a late result has made another attempt needless."""
        return key in self._late

    def fail(self, planned: PlannedTrial, sentence: str) -> None:
        """End a trial that could not even begin."""
        now = datetime.now(UTC)
        ended = CallEnded(-1, "", started=now, finished=now)
        result = TrialResult(planned.trial.key, "error", error=sentence)
        self._record(planned, result, ended, 0.0, 0.0, "failed", sentence)
        self._finish(planned, "error", 0.0, {}, "failed", "", sentence)

    def ended_elsewhere(self, key: str, state: TrialState) -> None:
        """Count a trial that another coordinator has ended."""
        if state == "done":
            self.done += 1
        else:
            self.failed += 1
        self._emit(TrialElsewhere(key, state))

    def _record(
        self,
        planned: PlannedTrial,
        result: TrialResult,
        event: UnitDone | CallEnded,
        seconds: float,
        cpu_seconds: float,
        state: TrialState,
        error: str,
    ) -> None:
        started = event.started or datetime.now(UTC)
        self._recorder.add(
            Attempt(
                f"{self._run_id}.{next(self._numbers)}",
                planned.trial.key,
                self._run_id,
                result.outcome,
                started,
                event.finished or started,
                seconds,
                cpu_seconds,
                event.worker,
                self._recorder.environment(event.environment) if isinstance(event, UnitDone) else None,
                result.metrics,
                tuple(Curve(name, steps, values) for name, (steps, values) in result.curves.items()),
                result.info,
                error,
                result.traceback,
                event.stdout,
                event.stderr,
                state,
                self._blocks.get(planned.trial.key),
            )
        )
        self.attempts[result.outcome] += 1

    def _finish(
        self,
        planned: PlannedTrial,
        outcome: Outcome,
        seconds: float,
        metrics: Mapping[str, float],
        state: TrialState,
        worker: str,
        error: str,
    ) -> None:
        key = planned.trial.key
        self._histories.pop(key, None)
        self._ended[key] = state
        if state == "done":
            self.done += 1
        else:
            self.failed += 1
        self._emit(TrialFinished(key, outcome, seconds, metrics, state, planned.trial, worker, error))

    def _history(self, key: str) -> History:
        """What happened to a trial before, in earlier runs too."""
        if (history := self._histories.get(key)) is None:
            status = self._leases.statuses([key]).get(key)
            counts = cast(Mapping[Outcome, int], status.attempts) if status is not None else {}
            history = self._histories[key] = History(dict(counts))
        return history
