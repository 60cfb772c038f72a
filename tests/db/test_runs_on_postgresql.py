"""Whole runs on one PostgreSQL ledger: several coordinators share a suite, and the server goes away and comes back under them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from db import open_ledger
from tests.harness.test_cli import Shell

PLUGIN = '''
import time
from typing import ClassVar

from tasks.api import Measured, Method, Metric, Task


class Sleeper(Method, family="toy"):
    pass


class Nap(Sleeper, name="nap"):
    pass


class Sleep(Task, family="toy", name="sleep", accepts=(Sleeper,), seconds=0.1):
    """A tenth of a second."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("seed", "1", "higher", "the seed", primary=True),)

    def data_fingerprint(self) -> str:
        return "none"

    def run(self, method: Sleeper, seed: int, context) -> Measured:
        time.sleep(0.1)
        return Measured({"seed": float(seed)})
'''
TRIALS = 120


def test_two_coordinators_share_a_suite_while_the_server_stops_and_starts(postgres: Any, tmp_path: Path) -> None:
    assay = Shell(tmp_path)
    (tmp_path / "naps.py").write_text(PLUGIN)
    suite = assay.suite(f"seeds: {TRIALS}\ntasks: [{{task: toy/sleep, methods: [nap]}}]\n", tmp_path / "naps.py")
    url = postgres.new_database("assay_template")
    command = assay.command("run", suite, "--db", url, "--engine", "process", "--workers", "1")
    runs = [
        subprocess.Popen(command, cwd=tmp_path, env=assay.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    with open_ledger(url) as ledger:

        def done() -> int:
            return int(ledger.query("SELECT count(*) AS n FROM attempts").to_pylist()[0]["n"])

        give_up = time.monotonic() + 120
        while done() < 10 and time.monotonic() < give_up:
            time.sleep(0.05)
        before = done()
        postgres.stop()
        try:
            time.sleep(2.0)
            assert all(run.poll() is None for run in runs), "a run does not end because its ledger is away"
        finally:
            postgres.start()
        said = [run.communicate(timeout=200)[1] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
        assert 10 <= before < TRIALS, "the server stopped in the middle"
        rows = ledger.query("SELECT trial, count(*) AS n, sum(accepted) AS accepted FROM attempts GROUP BY trial").to_pylist()
        assert len(rows) == TRIALS
        assert all((row["n"], row["accepted"]) == (1, 1) for row in rows), "nothing lost, nothing run twice"
        shares = ledger.query("SELECT run, count(*) AS n FROM attempts GROUP BY run").to_pylist()
        assert len(shares) == 2, shares
        assert ledger.query("SELECT n, mean FROM leaderboard").to_pylist() == [{"n": TRIALS, "mean": pytest.approx((TRIALS - 1) / 2)}]
