"""Durable no-op trials per second on Ray, as ratios to the same work without Assay in the same run (medians of interleaved rounds)."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from db import open_ledger
from db.spool import Spool
from harness import queueing
from harness.engines import pools
from harness.engines import ray as ray_engine
from harness.engines.base import EngineSettings
from harness.progress_events import TrialFinished
from harness.scheduler import run_plan
from tests.bench.processor_time import Meter
from tests.harness.conftest import local_ray  # noqa: F401
from tests.harness.toys import start_run, toy_plan, toys

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("local_ray"), pytest.mark.timeout(900)]

WORKERS = 2


def raw(trials: int, per_call: int, in_flight: int, store: Callable[[list], None] = lambda results: None, meter=None) -> float:
    """Trials per second of bare pipelined actors. `store` gets the results of each call as they come."""
    meter = meter or Meter()
    import ray

    @ray.remote(num_cpus=1)
    class Actor:
        def run(self, keys):
            return [(key, (("score", float(key)), ("pid", 1.0), ("draw", 0.5)), time.time()) for key in keys]

    actors = [Actor.remote() for _ in range(WORKERS)]
    ray.get([actor.run.remote([0]) for actor in actors])
    calls = [list(range(start, min(start + per_call, trials))) for start in range(0, trials, per_call)][::-1]
    pending = {}
    meter.start()
    began, turn = time.perf_counter(), 0
    while calls or pending:
        while calls and len(pending) < in_flight:
            pending[actors[turn % WORKERS].run.remote(calls.pop())] = True
            turn += 1
        ready, _ = ray.wait(list(pending), timeout=10)
        for ref in ready:
            del pending[ref]
            store(ray.get(ref))
    rate = trials / (time.perf_counter() - began)
    meter.stop()
    for actor in actors:
        ray.kill(actor)
    return rate


def raw_with_sqlite(folder: Path, trials: int, per_call: int, in_flight: int, per_commit: int, meter=None) -> float:
    """The same with a driver that writes what Assay must write at least: attempt, state, three values. `trials` is a multiple of
    `per_commit`."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "CREATE TABLE trial (key INTEGER PRIMARY KEY, state TEXT); CREATE TABLE attempt (id INTEGER PRIMARY KEY, key INTEGER, at REAL);"
        "CREATE TABLE measurement (attempt INTEGER, metric TEXT, value REAL, PRIMARY KEY (attempt, metric)) WITHOUT ROWID;"
    )
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO trial VALUES (?, 'pending')", [(key,) for key in range(trials)])
    connection.execute("COMMIT")
    waiting = []

    def store(results):
        waiting.extend(results)
        if len(waiting) < per_commit:
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO attempt VALUES (?, ?, ?)", [(key, key, at) for key, _, at in waiting])
        connection.executemany(
            "INSERT INTO measurement VALUES (?, ?, ?)", [(key, *value) for key, values, _ in waiting for value in values]
        )
        connection.executemany("UPDATE trial SET state = 'done' WHERE key = ?", [(key,) for key, _, _ in waiting])
        connection.execute("COMMIT")
        waiting.clear()

    rate = raw(trials, per_call, in_flight, store, meter)
    assert connection.execute("SELECT COUNT(*) FROM measurement").fetchone() == (3 * trials,)
    connection.close()
    return rate


def assay(folder: Path, trials: int, block: int, meter=None, **options) -> float:
    """Trials per second from the first result to the last commit."""
    times: list[float] = []

    def hear(event):
        if isinstance(event, TrialFinished):
            if meter and not times:
                meter.start()
            times.append(time.perf_counter())
            if meter and len(times) == trials:
                meter.stop()

    # Throughput is asked for, not how fast the expectation of one second per trial is unlearned.
    plan = toy_plan(toys("ok", range(trials), task="noop", task_params={"block": block}, expect=1e-4))
    with open_ledger(folder / "assay.db", create=True) as ledger:
        run = start_run(ledger)
        settings = EngineSettings(str(folder / "cache"), workers=WORKERS)
        summary = run_plan(plan, run, ledger, ray_engine.RayEngine(), settings, spool=Spool(folder / "spool"), on_event=hear, **options)
        assert summary.done == trials
        assert ledger.query("SELECT COUNT(*) AS n FROM scores").to_pylist() == [{"n": 3 * trials}]
    return (trials - 1) / (times[-1] - times[0])


def in_flight(monkeypatch, calls: int) -> None:
    for module in (ray_engine, pools):
        monkeypatch.setattr(module, "DEPTH", calls // WORKERS)


def steadily(folder: Path, trials: int) -> float:
    """Trials per second of a run that is under way."""
    warm_up = 300
    times: list[float] = []
    first = toys("ok", range(warm_up), task="noop", task_params={"block": 0}, expect=1e-4, priority=1)
    plan = toy_plan(first, toys("ok", range(trials), task="noop", task_params={"block": 1}, expect=1e-4))
    with open_ledger(folder / "assay.db", create=True) as ledger:
        run, settings = start_run(ledger), EngineSettings(str(folder / "cache"), workers=WORKERS)
        hear = lambda event: times.append(time.perf_counter()) if isinstance(event, TrialFinished) else None  # noqa: E731
        summary = run_plan(plan, run, ledger, ray_engine.RayEngine(), settings, spool=Spool(folder / "spool"), on_event=hear)
    assert summary.done == warm_up + trials
    return trials / (times[-1] - times[warm_up - 1])


def compare(tmp_path: Path, ours, theirs, rounds: int = 3) -> float:
    ratios = []
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        peer, mine = theirs(folder), ours(folder, number)
        ratios.append(mine / peer)
        print(f"round {number}: assay {mine:.0f}/s, peer {peer:.0f}/s, ratio {mine / peer:.2f}")
    return statistics.median(ratios)


def test_noop_trials_against_raw_ray_with_a_batched_sqlite_writer(tmp_path, monkeypatch):
    """Equal batching: 10 trials a call, 8 calls in flight, a commit per 100."""
    monkeypatch.setattr(queueing, "CALL_UNITS", 10)
    in_flight(monkeypatch, 8)
    ratio = compare(
        tmp_path,
        lambda folder, block: assay(folder, 5000, block, group_attempts=100),
        lambda folder: raw_with_sqlite(folder, 5000, 10, 8, 100),
    )
    assert ratio >= 0.6, f"ratio {ratio:.2f}"


def test_noop_trials_one_at_a_time_against_raw_ray_with_a_commit_per_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(queueing, "CALL_UNITS", 1)
    in_flight(monkeypatch, 8)
    ratio = compare(
        tmp_path,
        lambda folder, block: assay(folder, 2000, block, group_attempts=1),
        lambda folder: raw_with_sqlite(folder, 2000, 1, 8, 1),
    )
    assert ratio >= 0.6, f"ratio {ratio:.2f}"


def test_noop_trials_against_raw_ray_without_a_store(tmp_path, monkeypatch):
    """Equal batching, but nothing is kept: what durability, isolation and book-keeping cost together. No target was set: 0.5 is a floor."""
    in_flight(monkeypatch, 8)
    monkeypatch.setattr(queueing, "CALL_UNITS", 10)
    ratio = compare(tmp_path, lambda folder, block: assay(folder, 5000, block, group_attempts=100), lambda folder: raw(5000, 10, 8))
    assert ratio >= 0.5, f"ratio {ratio:.2f}"


@pytest.mark.parametrize(("per_call", "per_commit", "trials"), [(10, 100, 10_000), (1, 1, 3000)], ids=["10 a call", "one at a time"])
def test_processor_time_against_raw_ray_with_an_sqlite_writer(tmp_path, monkeypatch, per_call, per_commit, trials):
    """Where the time goes, and the ratio of processor times, which holds on a busy machine, too."""
    in_flight(monkeypatch, 8)
    monkeypatch.setattr(queueing, "CALL_UNITS", per_call)
    ours, theirs = Meter(), Meter()
    raw_with_sqlite(tmp_path, trials, per_call, 8, per_commit, theirs)
    assay(tmp_path, trials, 1, ours, group_attempts=per_commit)
    print(f"processor time per trial: assay {ours.microseconds(trials)}, peer {theirs.microseconds(trials)}")
    assert theirs.used.total() / ours.used.total() >= 0.6


def test_cost_per_trial_does_not_grow_with_their_number(tmp_path):
    """At 10^3, 10^4 and 10^5 trials, without the start: the clock runs from the last of 300 trials that go first. Small runs are repeated,
    because they last a fraction of a second."""
    costs = {}
    for trials, rounds in ((1000, 7), (10_000, 3), (100_000, 1)):
        rates = []
        for number in range(rounds):
            folder = tmp_path / f"{trials}-{number}"
            folder.mkdir()
            rates.append(steadily(folder, trials))
        costs[trials] = 1e6 / statistics.median(rates)
        print(f"{trials} trials: {costs[trials]:.0f} us per trial")
    assert max(costs.values()) <= 1.3 * costs[1000]
