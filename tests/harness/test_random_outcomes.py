"""The scheduler and a real ledger under random outcomes: whatever workers do, every trial ends as the table of outcomes says, once."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import outcomes
from harness.engines.base import Call, CallEnded, Event, TrialResult, UnitDone, Usage
from harness.outcomes import RULES, History, decide
from tests.harness.test_scheduler import Bench
from tests.harness.toys import toy_plan, toys

#: Seeds that no example has used: all examples share one ledger.
SEEDS = itertools.count()


@dataclass(frozen=True)
class Fate:
    """What happens at one attempt of a trial. `blamed`: whether anybody knows that it was this trial that its worker died of."""

    outcome: str
    worker: str = "w1"
    external: bool = False
    blamed: bool = True


class ScriptedEngine:
    """Carries out calls as written, until the trials' scripts end: then everything is ok."""

    name, isolated = "scripted", True

    def __init__(self, scripts: dict[str, list[Fate]], width: int) -> None:
        self.scripts = {key: deque(script) for key, script in scripts.items()}
        self.attempts: dict[str, list[Fate]] = {key: [] for key in scripts}
        self.width = width
        self.events: list[Event] = []

    def start(self, settings, shapes):
        pass

    def slots(self, shape):
        return self.width

    workers = slots

    def usage(self):
        return Usage(self.width)

    def submit(self, call: Call) -> None:
        self.events += self._execute(call)

    def _execute(self, call: Call) -> Iterator[Event]:
        now = datetime.now(UTC)
        for index, unit in enumerate(call.units):
            (key,) = unit.keys
            fate = self.scripts[key].popleft() if self.scripts[key] else Fate("ok")
            if fate.outcome == "worker_lost":
                if fate.blamed:
                    self.attempts[key].append(fate)
                culprit = index if fate.blamed else None
                yield CallEnded(call.id, fate.worker, "worker_lost", culprit, "It went away.", "", "last words", now, now, fate.external)
                return
            self.attempts[key].append(fate)
            metrics = {"score": 1.0, "pid": 1.0, "draw": 0.5} if fate.outcome == "ok" else {}
            result = TrialResult(key, fate.outcome, metrics, error="" if fate.outcome == "ok" else "It went wrong.")
            yield UnitDone(call.id, index, (result,), now, now, 0.01, 0.01, fate.worker, {"python": "3"})
        yield CallEnded(call.id, "w1")

    def poll(self, timeout):
        events, self.events = self.events, []
        return events

    def cancel(self, call):
        pass

    hand_back = stop = lambda self: None


known = st.builds(Fate, st.sampled_from([name for name in RULES if name != "worker_lost"]), st.sampled_from(["w1", "w2", "w3"]))
lost = st.builds(Fate, st.just("worker_lost"), st.sampled_from(["w1", "w2", "w3"]), st.booleans(), st.sampled_from([True, True, False]))
scripts = st.lists(st.lists(known | lost, max_size=9), min_size=1, max_size=7)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(Path(tmp_path_factory.mktemp("random")), "inline")
    yield bench
    bench.ledger.close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "_LONGEST_BACKOFF", 0.0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts, st.integers(1, 3))
def test_every_trial_ends_as_the_table_says_with_every_attempt_on_the_ledger(bench: Bench, fates: list[list[Fate]], width: int) -> None:
    plan = toy_plan(toys("ok", [next(SEEDS) for _ in fates], expect=0.01))
    keys = [trial.key for trial in plan.trials]
    engine = ScriptedEngine(dict(zip(keys, fates, strict=True)), width)
    summary = bench.run(plan, engine=engine)
    assert (summary.done + summary.failed, summary.left) == (len(keys), 0)
    rows = bench.rows(f"SELECT trial, state, outcome, error FROM trials WHERE trial IN ({', '.join(map(repr, keys))})")
    recorded = bench.rows(
        "SELECT trial, outcome, worker, accepted, stderr FROM attempts WHERE run = :run ORDER BY number", run=f"run-{bench.runs}"
    )
    for row in rows:
        mine = [attempt for attempt in recorded if attempt["trial"] == row["trial"]]
        happened = engine.attempts[row["trial"]]
        assert [(attempt["outcome"], attempt["worker"]) for attempt in mine] == [(fate.outcome, fate.worker) for fate in happened]
        history = History()
        *before, end = [decide(history, fate.outcome, fate.worker, fate.external).state for fate in happened]
        assert set(before) <= {"pending"}, "it was tried again after its end"
        assert row["state"] == end != "pending"
        assert sum(attempt["accepted"] for attempt in mine) == (end == "done")
        assert bool(row["error"]) == (end != "done")
        counts = Counter(fate.outcome for fate in happened)
        assert all(rule.retries is None or counts[name] <= rule.retries + 1 for name, rule in RULES.items())
        assert end != "quarantined" or all(attempt["stderr"] for attempt in mine if attempt["outcome"] == "worker_lost")
