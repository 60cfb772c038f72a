"""The scheduler with real engines, real tasks and a real SQLite ledger: every trial ends once, whatever the trials do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db import open_ledger
from db.records import Attempt
from db.spool import Spool
from harness import leases
from harness.engines import make_engine
from harness.engines.base import CallEnded, EngineSettings, Shape, TrialResult, UnitDone, Usage
from harness.fixtures import FixtureStore
from harness.progress_events import FixtureBuilt, TrialElsewhere, TrialFinished, TrialRetried
from harness.scheduler import run_plan
from harness.signals import Stop
from tests.harness.toys import start_run, toy_plan, toys


class Bench:
    """A ledger and a cache in a folder, and a way to run a plan on them."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder, self.engine = folder, engine
        self.db = str(folder / "assay.db")
        self.ledger = open_ledger(self.db, create=True)
        self.store = FixtureStore(folder / "cache")
        self.events: list = []
        self.runs = 0

    def run(self, plan, *, on_event=None, engine=None, **options):
        self.runs += 1
        self.events = []

        def hear(event):
            self.events.append(event)
            if on_event:
                on_event(event)

        run = start_run(self.ledger, f"run-{self.runs}", len(plan.trials))
        settings = EngineSettings(str(self.folder / "cache"), workers=2)
        spool = Spool(self.folder / "spool")
        return run_plan(plan, run, self.ledger, engine or make_engine(self.engine), settings, spool=spool, on_event=hear, **options)

    def rows(self, sql: str, **params):
        return self.ledger.query(sql, params).to_pylist()

    def states(self, plan) -> dict[str, int]:
        """How many of the plan's trials are in each state."""
        counts: dict[str, int] = {}
        for status in self.ledger.statuses([trial.key for trial in plan.trials]).values():
            counts[status.state] = counts.get(status.state, 0) + 1
        return counts

    def heard(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench(tmp_path, request):
    bench = Bench(tmp_path, getattr(request, "param", "process"))
    yield bench
    bench.ledger.close()


@pytest.fixture(params=["inline", "process", "ray"])
def any_bench(tmp_path, request):
    if request.param == "ray":
        request.getfixturevalue("local_ray")
    bench = Bench(tmp_path, request.param)
    yield bench
    bench.ledger.close()


def test_every_trial_is_recorded_once_on_every_engine(any_bench):
    plan = toy_plan(toys("ok", range(60), task="noop"), toys("ok", range(7)), toys("ok", range(5), task="group"))
    summary = any_bench.run(plan)
    assert (summary.done, summary.failed, summary.left) == (72, 0, 0)
    assert summary.attempts == {"ok": 72}
    assert any_bench.states(plan) == {"done": 72}
    assert any_bench.rows("SELECT COUNT(*) AS n FROM attempts")[0]["n"] == 72
    assert any_bench.rows("SELECT COUNT(*) AS n FROM scores WHERE task = 'toy/noop'")[0]["n"] == 180
    assert any_bench.rows("SELECT COUNT(*) AS n FROM curves")[0]["n"] == 15
    assert {row["size"] for row in any_bench.rows("SELECT value AS size FROM scores WHERE metric = 'size'")} == {5.0}
    assert len(any_bench.heard(TrialFinished)) == 72
    assert any_bench.rows("SELECT COUNT(*) AS n FROM attempts WHERE environment IS NULL")[0]["n"] == 0


def test_scores_belong_to_their_trials(bench):
    plan = toy_plan(toys("ok", range(20), value=100.0))
    bench.run(plan)
    assert {(row["seed"], row["value"]) for row in bench.rows("SELECT seed, value FROM scores WHERE metric = 'score'")} == {
        (seed, 100.0 + seed) for seed in range(20)
    }


def test_failures_are_named_and_do_not_touch_their_neighbours(any_bench):
    plan = toy_plan(toys("ok", range(10)), toys("bad", how="raises"), toys("bad", how="nan"), toys("bad", how="hangs", timeout=0.5))
    summary = any_bench.run(plan)
    assert (summary.done, summary.failed, summary.left) == (10, 3, 0)
    assert summary.attempts == {"ok": 10, "error": 2, "invalid": 1, "timeout": 1}
    rows = any_bench.rows("SELECT method_params, state, outcome, attempts, error FROM trials WHERE method = 'toy/bad' ORDER BY outcome")
    assert [(row["outcome"], row["state"], row["attempts"]) for row in rows] == [
        ("error", "failed", 2),
        ("invalid", "failed", 1),
        ("timeout", "failed", 1),
    ]
    assert "the toy is broken" in rows[0]["error"]
    assert any("in _raises" in row["traceback"] for row in any_bench.rows("SELECT traceback FROM attempts WHERE outcome = 'error'"))


@pytest.mark.parametrize("bench", ["process", "ray"], indirect=True)
def test_killers_are_quarantined_and_innocents_are_ok(bench, request):
    if bench.engine == "ray":
        request.getfixturevalue("local_ray")
    plan = toy_plan(toys("ok", range(40)), *(toys("bad", how=how) for how in ("exits", "segfaults")))
    summary = bench.run(plan)
    assert (summary.done, summary.failed, summary.left) == (40, 2, 0)
    assert bench.states(plan) == {"done": 40, "quarantined": 2}
    lost = bench.rows("SELECT worker, stderr, error FROM attempts WHERE outcome = 'worker_lost' AND stderr LIKE '%last words%'")
    assert len(lost) == 2
    assert len({row["worker"] for row in lost}) == 2
    assert sum("Quarantined" in row["error"] for row in lost) == 1


def test_a_trial_that_is_killed_from_outside_gets_more_chances(bench, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    plan = toy_plan(toys("ok", range(5)), toys("bad", how="kills_itself", marker=str(marks), times=4))
    summary = bench.run(plan)
    assert summary.done == 6
    assert summary.attempts["worker_lost"] == 4


def test_an_error_that_passes_is_retried(bench, tmp_path):
    plan = toy_plan(toys("bad", how="raises", marker=str(tmp_path / "m"), times=1))
    (tmp_path / "m").mkdir()
    summary = bench.run(plan)
    assert summary.done == 1
    assert [event.outcome for event in bench.heard(TrialRetried)] == ["error"]


def test_fixtures_are_built_first_and_once(any_bench, tmp_path):
    trace = tmp_path / "trace"
    trace.mkdir()
    fixtures: dict = {}
    needy = toys("ok", range(6), task_params={"fixture": "stack", "trace": str(trace)}, store=any_bench.store, fixtures=fixtures)
    plan = toy_plan(needy, toys("ok", range(6)), fixtures=fixtures.values())
    summary = any_bench.run(plan)
    assert summary.done == 12
    assert [event.name for event in any_bench.heard(FixtureBuilt)] == ["toy-base"] * 3
    assert sorted(path.name[0] for path in trace.iterdir()) == ["0", "1", "2"]
    order = [event for event in any_bench.events if isinstance(event, (FixtureBuilt, TrialFinished))]
    last_built = max(index for index, event in enumerate(order) if isinstance(event, FixtureBuilt))
    needing = {planned.trial.key for planned in needy}
    assert all(index > last_built for index, event in enumerate(order) if isinstance(event, TrialFinished) and event.key in needing)


def test_trials_of_a_fixture_that_cannot_be_built_end_with_its_sentence(bench):
    fixtures: dict = {}
    needy = toys("ok", range(3), task_params={"fixture": "broken"}, store=bench.store, fixtures=fixtures)
    plan = toy_plan(needy, toys("ok", range(4)), fixtures=fixtures.values())
    summary = bench.run(plan)
    assert (summary.done, summary.failed, summary.left) == (4, 3, 0)
    rows = bench.rows("SELECT outcome, state, attempts, error FROM trials WHERE state = 'failed'")
    assert {(row["outcome"], row["attempts"]) for row in rows} == {("error", 1)}
    assert all("fixture toy-base can't be built" in row["error"] and "no electricity" in row["error"] for row in rows)


def test_budgets_leave_the_rest_pending_and_the_next_run_finishes_it(bench):
    plan = toy_plan(toys("ok", range(50)))
    first = bench.run(plan, budget_trials=20)
    assert (first.done, first.left, first.interrupted) == (20, 30, False)
    assert bench.states(plan) == {"done": 20, "pending": 30}
    done = {row["trial"] for row in bench.rows("SELECT trial FROM trials WHERE state = 'done'")}
    rest = toy_plan([planned for planned in plan.todo if planned.trial.key not in done])
    assert bench.run(rest).done == 30
    assert bench.rows("SELECT COUNT(*) AS n FROM attempts")[0]["n"] == 50
    assert bench.run(toy_plan(toys("ok", range(50, 60))), budget_seconds=0.0).left == 10


def test_first_ctrl_c_drains_and_leaves_a_consistent_ledger(any_bench):
    stop = Stop()
    plan = toy_plan(toys("ok", range(40), seconds=1.0) if any_bench.engine == "inline" else toys("ok", range(200), seconds=1.0))

    def interrupt(event):
        if isinstance(event, TrialFinished):
            stop.level = 1

    summary = any_bench.run(plan, on_event=interrupt, stop=stop)
    assert summary.interrupted
    assert summary.left > 0
    states = any_bench.states(plan)
    assert states == {"done": summary.done, "pending": summary.left}
    assert any_bench.rows("SELECT COUNT(*) AS n FROM attempts")[0]["n"] == summary.done


@pytest.mark.parametrize("bench", ["inline"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_cancels_what_executes_in_this_process(bench, number):
    plan = toy_plan(toys("bad", how="hangs", seeds=range(6), timeout=100.0, expect=0.01))
    timers = [threading.Timer(seconds, os.kill, (os.getpid(), number)) for seconds in (1.0, 2.0)]
    with Stop() as stop:
        for timer in timers:
            timer.start()
        summary = bench.run(plan, stop=stop)
    assert (summary.done, summary.failed, summary.left, summary.interrupted) == (0, 0, 6, True)
    assert bench.states(plan) == {"pending": 6}
    assert [row["outcome"] for row in bench.rows("SELECT outcome FROM attempts")] == ["cancelled"], "not a timeout"


@pytest.mark.parametrize("bench", ["process", "ray"], indirect=True)
def test_second_ctrl_c_cancels_what_runs(bench, request):
    if bench.engine == "ray":
        request.getfixturevalue("local_ray")
    stop = Stop()
    plan = toy_plan(toys("bad", how="hangs", seeds=range(6), timeout=500.0, expect=60.0))
    timer = threading.Timer(4.0, lambda: setattr(stop, "level", 2))
    timer.start()
    summary = bench.run(plan, stop=stop)
    assert (summary.done, summary.failed, summary.left, summary.interrupted) == (0, 0, 6, True)
    assert bench.states(plan) == {"pending": 6}


def test_trials_of_another_coordinator_are_left_to_it_and_counted(bench):
    plan = toy_plan(toys("ok", range(10)))
    run = start_run(bench.ledger, "elsewhere")
    bench.ledger.submit(run, plan.trials)
    held = [trial.key for trial in plan.trials[:3]]
    assert len(bench.ledger.claim("somebody else", held, 600.0)) == 3
    other = open_ledger(bench.db)

    def end_elsewhere():
        time.sleep(3.0)
        other_ledger = open_ledger(bench.db)
        other_ledger.release("somebody else", held[:2])
        other_ledger.close()

    def finish(event):
        # Two come back to us; the third is ended by its holder once we have everything else.
        if isinstance(event, TrialFinished) and len(bench.heard(TrialFinished)) == 9:
            from tests.harness.toys import toys as again

            third = next(planned for planned in again("ok", range(10)) if planned.trial.key == held[2])
            other.record([_ok_attempt(third, run)])

    thread = threading.Thread(target=end_elsewhere)
    thread.start()
    summary = bench.run(plan, on_event=finish)
    thread.join()
    other.close()
    assert (summary.done, summary.left) == (10, 0)
    assert summary.attempts == {"ok": 9}
    assert [event.key for event in bench.heard(TrialElsewhere)] == [held[2]]


@pytest.mark.parametrize("bench", ["inline", "process"], indirect=True)
def test_a_trial_that_lasts_longer_than_a_lease_is_taken_by_nobody_else(bench, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.6)
    plan = toy_plan(toys("ok", seconds=3.0, expect=3.0))
    taken: list[str] = []
    over = threading.Event()

    key = plan.trials[0].key

    def steal():
        with open_ledger(bench.db) as other:
            while not over.wait(0.2):
                if other.statuses([key])[key].state == "leased":
                    taken.extend(other.claim("thief", [key], 600.0))

    thread = threading.Thread(target=steal)
    bench.ledger.submit(start_run(bench.ledger, "before"), plan.trials)
    thread.start()
    summary = bench.run(plan)
    over.set()
    thread.join()
    assert (summary.done, taken) == (1, [])


def _ok_attempt(planned, run):
    now = datetime.now(UTC)
    return Attempt("elsewhere.1", planned.trial.key, run, "ok", now, now, 0.1, 0.1, "other:1", None, {"score": 1.0})


class LateEngine:
    """A worker that is believed dead once and then answers after all, just before the trial's second attempt ends."""

    name, isolated = "late", True

    def __init__(self) -> None:
        self.calls: list = []
        self.events: list = []

    def start(self, settings, shapes):
        pass

    def slots(self, shape):
        return 1

    workers = slots

    def usage(self):
        return Usage(1)

    def hand_back(self):
        pass

    def submit(self, call):
        self.calls.append(call)
        if len(self.calls) == 1:
            self.events.append(CallEnded(call.id, "far:1", "worker_lost", 0, "The node went away.", external=True))
        else:
            self.events += [self._done(self.calls[0], "far:1", 1.0), self._done(call, "near:1", 1.0), CallEnded(call.id, "near:1")]

    def poll(self, timeout):
        events, self.events = self.events, []
        return events

    def cancel(self, call):
        pass

    def stop(self):
        pass

    @staticmethod
    def _done(call, worker, score):
        now = datetime.now(UTC)
        result = TrialResult(call.units[0].keys[0], "ok", {"score": score, "pid": 1.0, "draw": 0.5})
        return UnitDone(call.id, 0, (result,), now, now, 0.1, 0.1, worker, {"python": "3"})


def test_the_late_result_of_a_worker_believed_dead_is_stored(bench):
    summary = bench.run(toy_plan(toys("ok")), engine=LateEngine())
    assert (summary.done, summary.failed, summary.left) == (1, 0, 0)
    rows = bench.rows("SELECT outcome, worker, accepted FROM attempts ORDER BY number")
    assert [(row["outcome"], row["worker"], row["accepted"]) for row in rows] == [
        ("worker_lost", "far:1", 0),
        ("ok", "far:1", 1),
        ("ok", "near:1", 0),
    ]
    assert len(bench.heard(TrialFinished)) == 1


def test_the_shape_of_the_most_urgent_trials_gets_its_workers_first(bench):
    """Two shapes that compete for the same two processors; the urgent one stands last in the plan."""
    easy = toys("ok", range(40), seconds=0.02, expect=0.02)
    urgent = toys("ok", range(4), seconds=0.02, expect=0.02, value=2.0, shape=Shape(cpus=2.0), priority=5)
    summary = bench.run(toy_plan(easy, urgent))
    assert (summary.done, summary.left) == (44, 0)
    by_start = "SELECT json_extract(t.method_params, '$.value') AS value FROM attempts a JOIN trials t USING (trial) ORDER BY a.started"
    assert [row["value"] for row in bench.rows(by_start)][:4] == [2.0] * 4


_COORDINATOR = """
import sys
from pathlib import Path
from tests.harness.test_scheduler import Bench
from tests.harness.toys import toy_plan, toys
bench = Bench(Path(sys.argv[1]), sys.argv[2])
bench.runs = int(sys.argv[3])
bench.run(toy_plan(toys("ok", range(400), seconds=0.02)))
"""


def test_kill_minus_nine_of_the_coordinator_then_again_gives_every_trial_once(bench, tmp_path):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    plan = toy_plan(toys("ok", range(400), seconds=0.02))
    arguments = [sys.executable, "-c", _COORDINATOR, str(bench.folder), "process", "100"]
    first = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], env={**os.environ, "TMPDIR": str(scratch)})
    deadline = time.monotonic() + 100
    while bench.rows("SELECT COUNT(*) AS n FROM attempts")[0]["n"] < 50:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    while list(scratch.iterdir()):  # its workers die with it, and leave nothing behind
        assert time.monotonic() < deadline
        time.sleep(0.1)
    left = [planned for planned in plan.todo if bench.ledger.statuses([planned.trial.key])[planned.trial.key].state != "done"]
    assert 0 < len(left) < 400
    summary = bench.run(toy_plan(left))
    assert (summary.done, summary.left) == (len(left), 0)
    assert bench.states(plan) == {"done": 400}
    assert bench.rows("SELECT COUNT(*) AS n FROM attempts WHERE accepted = 1")[0]["n"] == 400
    assert bench.rows("SELECT COUNT(*) AS n FROM attempts")[0]["n"] == 400
