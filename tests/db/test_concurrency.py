"""Several real processes on one ledger, on both databases: nothing lost, nothing twice, no lock errors, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from db import open_ledger
from db.testing import ENVIRONMENT, attempt, trial

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.db.workers", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_processes_claim_and_record(new_url: Callable[[], str]) -> None:
    url, total = new_url(), 400
    processes = [start("claim_and_record", url, str(name), str(total)) for name in range(8)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [error for _, error in outputs if error] == []
    assert sum(int(output) for output, _ in outputs) == total
    with open_ledger(url, read_only=True) as ledger:
        assert ledger.query("SELECT state, count(*) AS n FROM trials GROUP BY state").to_pylist() == [{"state": "done", "n": total}]
        (row,) = ledger.query("SELECT count(*) AS n, count(DISTINCT trial) AS trials, sum(accepted) AS ok FROM attempts").to_pylist()
        assert row == {"n": total, "trials": total, "ok": total}
        assert ledger.query("SELECT count(*) AS n FROM run_trials").to_pylist() == [{"n": 8 * total}]
        board = ledger.query("SELECT metric, n, mean, sd FROM leaderboard ORDER BY metric").to_pylist()
        assert board == [{"metric": m, "n": total, "mean": v, "sd": 0.0} for m, v in (("loss", 1.0), ("size", 2.0), ("time", 3.0))]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_several_processes_create_one_ledger(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """All of them find no ledger and make one; one wins and nobody notices."""
    url = str(tmp_path / "new.db") if database == "sqlite" else request.getfixturevalue("postgres").new_database()
    processes = [start("claim_and_record", url, str(name), "40") for name in range(4)]
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [error for _, error in outputs if error] == []
    assert sum(int(output) for output, _ in outputs) == 40
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_killed_writer_leaves_whole_groups(new_url: Callable[[], str]) -> None:
    url = new_url()
    confirmed = []
    for groups in (1, 2, 4):  # killed at different moments, and started again on what it left
        process = start("record_for_ever", url)
        assert process.stdout is not None
        lines = [int(process.stdout.readline()) for _ in range(groups)]
        os.kill(process.pid, signal.SIGKILL)
        confirmed = lines + [int(line) for line in process.stdout.read().split()]
        process.communicate(timeout=60)
        with open_ledger(url) as ledger:
            done = ledger.query("SELECT seed FROM trials WHERE state = 'done'")["seed"].to_pylist()
            assert len(done) % 50 == 0
            assert set(done) >= {seed for first in confirmed for seed in range(first, first + 50)}
            assert ledger.query("SELECT count(*) AS n FROM attempts").to_pylist() == [{"n": len(done)}]
            assert ledger.query("SELECT count(*) AS n FROM scores").to_pylist() == [{"n": 3 * len(done)}]
            assert set(ledger.query("SELECT n FROM leaderboard")["n"].to_pylist()) == {len(done)}


def test_killed_holder_of_the_write_lock_frees_it(new_url: Callable[[], str]) -> None:
    url = new_url()
    process = start("hold_write_lock", url, "600")
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    with open_ledger(url, read_only=True) as reader:  # a reader never waits
        assert reader.query("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 0}]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    with open_ledger(url) as ledger:
        from db.records import Run

        ledger.start_run(Run("run-1", "suite", "", "inline", [], 1), ENVIRONMENT)
        ledger.submit("run-1", [trial(0)])
        assert ledger.record([attempt(trial(0))], [ENVIRONMENT]) == 1


def test_a_long_read_does_not_stop_writers(new_url: Callable[[], str]) -> None:
    """A report in the middle of its rows, while a run records."""
    url = new_url()
    with open_ledger(url) as writer, open_ledger(url, read_only=True) as reader:
        from db.records import Run
        from db.surface import BATCH

        writer.start_run(Run("run-1", "suite", "", "inline", [], 1), ENVIRONMENT)
        writer.submit("run-1", [trial(seed) for seed in range(3)])
        many = f"SELECT t0.seed FROM {', '.join(f'trials t{index}' for index in range(11))}"  # 3 ** 11 rows
        pieces = reader.surface.batches(many, None, 120.0)
        assert len(next(pieces)[1]) == BATCH
        assert writer.record([attempt(trial(0))], [ENVIRONMENT]) == 1
        assert len(next(pieces)[1]) == BATCH
        pieces.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_two_objects_in_one_process(new_url: Callable[[], str], read_only: bool) -> None:
    url = new_url()
    with open_ledger(url) as one, open_ledger(url, read_only=read_only) as two:
        from db.records import Run

        one.start_run(Run("run-1", "suite", "", "inline", [], 1), ENVIRONMENT)
        one.submit("run-1", [trial(0)])
        assert two.statuses([trial(0).key])[trial(0).key].state == "pending"
