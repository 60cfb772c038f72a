"""What listings cost, counted in steps of SQLite's virtual machine: runs and the leaderboard do not read measurements or curves."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from db import open_ledger
from db.records import Curve
from db.testing import ENVIRONMENT, RUN, attempt, catalogue, trial


def steps(path: Path, query: str) -> int:
    """Virtual-machine instructions that the query takes."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(tick, 1)
        connection.execute(query).fetchall()
    return count


@pytest.mark.parametrize("query", ["SELECT * FROM runs", "SELECT * FROM leaderboard", "SELECT * FROM claims", "SELECT * FROM environments"])
def test_listings_cost_the_same_with_ten_times_the_measurements(sqlite_template: Path, tmp_path: Path, query: str) -> None:
    costs = []
    for seeds in (20, 200):
        path = Path(shutil.copy(sqlite_template, tmp_path / f"{seeds}.db"))
        with open_ledger(path) as ledger:
            ledger.write_catalogue(catalogue())
            ledger.start_run(RUN, ENVIRONMENT)
            trials = [trial(seed) for seed in range(seeds)]
            ledger.submit(RUN.id, trials)
            curve = Curve("path", [float(step) for step in range(50)], [1.0] * 50)
            ledger.record([attempt(item, {"loss": 1.0, "time": 2.0}, curves=[curve]) for item in trials], [ENVIRONMENT])
        costs.append(steps(path, query))
    assert costs[0] == costs[1]


def test_trials_and_scores_do_not_read_curves(sqlite_template: Path, tmp_path: Path) -> None:
    for query in ("SELECT * FROM trials", "SELECT * FROM scores", "SELECT * FROM attempts", "SELECT * FROM costs"):
        costs = []
        for points in (1, 1000):
            path = Path(shutil.copy(sqlite_template, tmp_path / "x.db"))
            with open_ledger(path) as ledger:
                ledger.start_run(RUN, ENVIRONMENT)
                ledger.submit(RUN.id, [trial(0)])
                curve = Curve("path", [float(step) for step in range(points)], [1.0] * points)
                ledger.record([attempt(trial(0), curves=[curve])], [ENVIRONMENT])
            costs.append(steps(path, query))
            for leftover in tmp_path.glob("x.db*"):
                leftover.unlink()
        assert costs[0] == costs[1], query


def test_reading_loads_no_heavy_package(sqlite_template: Path, tmp_path: Path) -> None:
    """`assay sql` and `assay leaderboard` start fast because these imports stay away."""
    path = shutil.copy(sqlite_template, tmp_path / "x.db")
    heavy = "{'sqlalchemy', 'pandas', 'pyarrow', 'psycopg', 'alembic', 'numpy', 'torch', 'ray'} & set(sys.modules)"
    read = "db.open_ledger(sys.argv[1], read_only=True).surface.rows('SELECT * FROM trials', None, 10)"
    program = f"import sys, db, db.records, db.ledger, db.errors; {read}; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, cwd=Path(__file__).parents[2])
