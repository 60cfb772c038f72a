"""Workers that can't be reached for a while: their trials go to others, and what they finish is stored when it comes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from harness.engines import make_engine, ray
from harness.progress_events import TrialFinished
from tests.harness.test_scheduler import Bench
from tests.harness.toys import toy_plan, toys


@pytest.fixture
def bench(tmp_path, monkeypatch, local_ray):
    monkeypatch.setattr(ray, "PULSE_SECONDS", 0.2)
    monkeypatch.setattr(ray, "PATIENCE_SECONDS", 1.5)
    bench = Bench(tmp_path, "ray")
    yield bench
    bench.ledger.close()


class Freezer(threading.Thread):
    """Stops the actor that executes something, once the trial has left its mark, and lets it go on when `thaw` says so."""

    def __init__(self, engine, marker: Path, thaw) -> None:
        super().__init__(daemon=True)
        self.engine, self.marker, self.thaw = engine, marker, thaw
        self.frozen = 0

    def run(self) -> None:
        import ray as cluster

        while not list(self.marker.iterdir()):
            time.sleep(0.05)
        (actor,) = [actor for actor in self.engine._pools.actors if any(call.units[0].method == "toy/bad" for call in actor.calls.values())]
        self.frozen = cluster.get(actor.handle.__ray_call__.remote(lambda host: os.getpid()))
        os.kill(self.frozen, signal.SIGSTOP)
        while not self.thaw():
            time.sleep(0.05)
        os.kill(self.frozen, signal.SIGCONT)


@pytest.mark.parametrize("late", [False, True], ids=["before the second attempt ends", "after it"])
def test_what_a_frozen_worker_finishes_is_stored_as_a_late_attempt(bench, tmp_path, late):
    marker = tmp_path / "marker"
    marker.mkdir()
    engine = make_engine("ray")
    slow = toys("bad", how="hangs", marker=str(marker), seconds=4.0, timeout=60.0, expect=4.0)
    # Others keep the run going until the late result is there.
    plan = toy_plan(slow, toys("ok", range(24), seconds=0.4, expect=0.4, priority=-1) if late else [])

    def thaw() -> bool:
        if late:  # the second attempt has been accepted
            return any(event.key == slow[0].trial.key for event in bench.heard(TrialFinished))
        return len(list(marker.iterdir())) == 2

    freezer = Freezer(engine, marker, thaw)
    freezer.start()
    summary = bench.run(plan, engine=engine)
    freezer.join(10)
    assert (summary.failed, summary.left) == (0, 0)
    rows = bench.rows("SELECT outcome, accepted, error, worker FROM attempts WHERE trial = :key ORDER BY number", key=slow[0].trial.key)
    assert [row["outcome"] for row in rows] == ["worker_lost", "ok", "ok"]
    assert [row["accepted"] for row in rows] == [0, 1, 0]
    assert "does not answer: silent for" in rows[0]["error"]
    first, second = sorted(marker.iterdir())
    order = (second, first) if late else (first, second)
    assert [row["worker"].rsplit(":", 1)[1] for row in rows[1:]] == [path.name.split("-")[1] for path in order]
    assert bench.rows("SELECT COUNT(*) AS n FROM replicates")[0]["n"] == 3  # score, pid, draw of the attempt that was not accepted
