"""The progress view's numbers: what is left, and how long that takes at the run's own speed."""

from __future__ import annotations

import pytest

import harness.progress
from db.records import Trial
from harness.engines.base import Shape
from harness.planned import Plan, PlannedFixture, PlannedTrial
from harness.progress import RunState
from harness.progress_events import FixtureBuilt, FixtureStarted, TrialFinished, Working


def trial(seed: int) -> Trial:
    return Trial(
        key=f"{seed:064x}", family="toy", task="toy/add", task_version=1, task_params={}, method="toy/one", method_version=1,
        method_params={}, seed=seed, data_fingerprint="", protocol=1,
    )  # fmt: skip


class Run:
    """A run of ten trials of 10 s and a fixture of 100 s on two workers, with a clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(harness.progress.time, "monotonic", lambda: self.now)
        trials = [trial(seed) for seed in range(10)]
        todo = [PlannedTrial(item, "", ("base",), 60.0, Shape(), 10.0, 0) for item in trials]
        self.state = RunState(Plan("mine", "", trials, todo, [PlannedFixture("base", "base", {}, (), 100.0, False)]))

    def work(self, seconds: float, finish: range, *, fixture: bool = False) -> None:
        self.now += seconds
        if fixture:
            self.state.update(FixtureStarted("base", "base"))
            self.state.update(FixtureBuilt("base", "base", seconds))
        for seed in finish:
            self.state.update(TrialFinished(f"{seed:064x}", "ok", 1.0, {}, "done", trial(seed)))
        self.state.update(Working(2, 10 - self.state.finished - 2, 2, 0.0))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


def test_at_first_the_estimate_is_the_plans(run: Run) -> None:
    assert run.state.eta() is None
    run.work(0, range(0))
    assert run.state.eta() == pytest.approx(100)


def test_a_run_at_the_planned_speed_keeps_the_plans_estimate(run: Run) -> None:
    run.work(75, range(5), fixture=True)
    assert run.state.eta() == pytest.approx(25)


def test_a_machine_three_times_slower_nearly_triples_the_estimate(run: Run) -> None:
    run.work(225, range(5), fixture=True)
    assert 60 < (run.state.eta() or 0) < 75


def test_a_fixture_that_takes_its_planned_time_changes_nothing(run: Run) -> None:
    run.state.update(FixtureStarted("base", "base"))
    run.work(30, range(0))
    assert run.state.eta() == pytest.approx(100)


def test_a_hanging_trial_adds_no_more_than_it_has_taken(run: Run) -> None:
    run.work(95, range(8), fixture=True)
    before = run.state.eta() or 0
    run.work(100, range(0))
    assert before < (run.state.eta() or 0) < before + 100


def test_the_estimate_ends_at_zero(run: Run) -> None:
    run.work(300, range(10), fixture=True)
    assert run.state.eta() == 0
    assert run.state.line() == "10/10 done, 0.0/s"


def test_no_more_is_in_flight_than_is_left(run: Run) -> None:
    """The scheduler says it once a second."""
    run.work(50, range(5))
    run.state.update(Working(5, 0, 2, 0.0))
    for seed in range(5, 8):
        run.state.update(TrialFinished(f"{seed:064x}", "ok", 1.0, {}, "done", trial(seed)))
    assert ", 2 in flight" in run.state.line()
    for seed in range(8, 10):
        run.state.update(TrialFinished(f"{seed:064x}", "ok", 1.0, {}, "done", trial(seed)))
    assert "in flight" not in run.state.line()
    assert run.state.in_flight == 0


def test_the_last_line_speaks_of_nothing_that_goes_on(run: Run) -> None:
    run.work(75, range(5), fixture=True)
    run.state.update(Working(2, 3, 2, 0.0, engine_waits="waiting for nodes with 1 GPU"))
    assert "2 in flight" in run.state.line()
    assert run.state.line().endswith("left, waiting for nodes with 1 GPU")
    assert run.state.line(over=True) == "5/10 done, 0.1/s"


@pytest.mark.parametrize("width", [100, 80, 40, 20])
def test_the_live_view_fits_the_terminal_and_shows_what_counts(run: Run, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    run.work(75, range(5), fixture=True)
    worst = TrialFinished(f"{9:064x}", "worker_lost", 1.0, {}, "quarantined", trial(9), error="gone")
    run.state.update(worst)
    run.state.update(Working(2, 2, 2, 0.0, 1.5, "waiting for nodes with 1 GPU"))
    run.state.best["toy"] = ("one", "total", 3.0)
    view = object.__new__(harness.progress._LiveView)
    view._state = run.state
    console = Console(width=width, record=True)
    console.begin_capture()
    console.print(view._render())
    shown = console.end_capture()
    assert max(map(len, shown.splitlines())) <= width
    words = " ".join(shown.split())
    for part in ("done 5", "in flight 2", "0.1/s", "quarantined 1", "workers 2", "GPUs in use 1.5", "waiting for nodes"):
        assert part in words, shown
    assert "toy: best so far one" in words


def test_failures_that_differ_in_the_worker_alone_are_counted_not_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    view = harness.progress._PlainView(run.state)
    for seed in range(9):
        view.show(TrialFinished("0" * 64, "worker_lost", 1.0, {}, "quarantined", trial(seed), error=f"The worker vm:{seed} exited."))
    assert capsys.readouterr().err.count("exited") == harness.progress.FAILURES_SHOWN


def test_terminal_escapes_of_a_methods_error_are_not_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    view = harness.progress._PlainView(run.state)
    view.show(TrialFinished("0" * 64, "error", 1.0, {}, "failed", trial(0), error="\x1b]0;owned\x07\x1b[31mboom"))
    printed = capsys.readouterr().err
    assert "boom" in printed
    assert "\x1b" not in printed
    assert "\x07" not in printed
