"""How fast reports are made from a million scores, as ratios to the query that reads them, in the same process and minute (issue 5)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from db import open_ledger
from db.ledger import Ledger
from db.records import Attempt, Catalogue, MethodRow, MetricRow, TaskRow, Trial
from db.testing import ENVIRONMENT, RUN, START
from reports.boards import Question, load_boards
from reports.leaderboard import leaderboard
from reports.render.terminal import render

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

TASKS, METHODS, SEEDS, METRICS = 50, 100, 20, 10

#: What `reports.boards.load_boards` asks for.
READ = (
    "SELECT trial, task, task_version, task_params, method, method_version, method_params, seed, state FROM trials WHERE family = :family",
    "SELECT trial, metric, value, kind FROM scores WHERE family = :family",
)


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 tasks x 100 methods x 20 seeds x 10 metrics in SQLite."""
    path = tmp_path_factory.mktemp("reports") / "million.db"
    rng = np.random.default_rng(0)
    names = [f"m{number}" for number in range(METRICS)]
    with open_ledger(str(path), create=True) as ledger:
        tasks = [f"fam/task{number:02d}" for number in range(TASKS)]
        metrics = {task: [MetricRow(task, name, "", "lower", "", name == "m0", None) for name in names] for task in tasks}
        methods = [MethodRow(f"fam/method{number:03d}", "fam", 1, f"Method {number}", "", None, (), {}) for number in range(METHODS)]
        ledger.write_catalogue(Catalogue(tasks=[TaskRow(task, "fam", 1, task, "", {}, metrics[task]) for task in tasks], methods=methods))
        ledger.start_run(RUN, ENVIRONMENT)
        for task in tasks:
            trials = [
                Trial(f"{task}-{at:03d}-{seed:02d}".ljust(64, "0"), "fam", task, 1, {}, method.method, 1, {}, seed, "f" * 64, 1)
                for at, method in enumerate(methods)
                for seed in range(SEEDS)
            ]
            values = rng.normal(size=(len(trials), METRICS)) + np.repeat(np.arange(METHODS), SEEDS)[:, None] / 20
            ledger.submit(RUN.id, trials)
            attempts = [
                Attempt(
                    trial.key[::-1],
                    trial.key,
                    RUN.id,
                    "ok",
                    START,
                    START,
                    0.1,
                    0.1,
                    "w",
                    ENVIRONMENT.hash,
                    dict(zip(names, row, strict=True)),
                )
                for trial, row in zip(trials, values.tolist(), strict=True)
            ]
            ledger.record(attempts, [ENVIRONMENT])
    return path


def query(ledger: Ledger) -> int:
    return sum(ledger.query(sql, {"family": "fam"}).num_rows for sql in READ)


def test_a_leaderboard_over_a_million_scores_costs_little_beyond_its_query(million: Path) -> None:
    """Boards, groups, rank intervals and rows for a terminal take less than 60 % of the time that reading the scores takes.

    The issue asks for under 3 s beyond the query; docs/performance.md says what it was.
    """
    with open_ledger(str(million), read_only=True) as ledger:
        query(ledger)  # the file is in memory now, for both
        start = time.perf_counter()
        rows = query(ledger)
        read = time.perf_counter() - start
        start = time.perf_counter()
        boards = load_boards(ledger, Question("fam"))
        document = leaderboard("fam", boards, top=40, weights={})
        shown = io.StringIO()
        render(document, Console(file=shown, width=200))
        total = time.perf_counter() - start
    assert rows == TASKS * METHODS * SEEDS * (METRICS + 1)
    assert shown.getvalue().count("Method ") > TASKS * 40
    print(f"\nBENCH leaderboard-million read={read:.3g} total={total:.3g} beyond={total - read:.3g} ratio={(total - read) / read:.3g}")
    assert total - read < 0.6 * read


def test_the_command_is_that_and_its_start(million: Path) -> None:
    """`assay leaderboard` as a process: start, query, statistics, output."""
    command = [sys.executable, "-m", "harness.cli", "leaderboard", "fam", "--db", str(million)]
    start = time.perf_counter()
    found = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], env={**os.environ, "COLUMNS": "200"}
    )
    took = time.perf_counter() - start
    with open_ledger(str(million), read_only=True) as ledger:
        start = time.perf_counter()
        query(ledger)
        read = time.perf_counter() - start
    print(f"\nBENCH leaderboard-command total={took:.3g} read={read:.3g}")
    assert "fam/task49" in found.stdout
    assert took < 2.5 * read
