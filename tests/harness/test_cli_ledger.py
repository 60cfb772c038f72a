"""The command line and its ledger: results that only reached the spool, and passwords."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.db.conftest import Server
from tests.harness.test_cli import ADD, Shell

#: `assay` with a disk that is full when the first result comes.
FULL = """
from db.errors import LedgerUnavailable
from db.store import SqlLedger
from harness.cli import main

def full(*arguments):
    raise LedgerUnavailable("The disk is full.")

SqlLedger.record = full
main()
"""


def test_results_that_only_reached_the_spool_are_no_success_and_the_next_run_takes_them_in(tmp_path: Path) -> None:
    assay = Shell(tmp_path)
    command = ["run", assay.suite(ADD), "--engine", "inline"]
    broken = subprocess.run([sys.executable, "-c", FULL, *command], capture_output=True, text=True, cwd=assay.folder, env=assay.environment)
    assert broken.returncode == 3
    assert "results wait in assay.db.spool, and the same command takes them in" in " ".join(broken.stderr.split())
    again = assay(*command)
    assert again.returncode == 0
    assert "9 attempts that an earlier run could not store were taken from assay.db.spool" in again.stderr
    assert "nothing to do, 9 of 9 trials are done" in again.stderr


def test_a_password_reaches_neither_the_ledger_nor_the_screen(tmp_path: Path, postgres: Server) -> None:
    assay = Shell(tmp_path)
    url = postgres.new_database("assay_template").replace("postgres@", "postgres:tellnobody@")
    done = assay("run", assay.suite(ADD), "--engine", "inline", "--max-trials", "4", "--db", url)
    assert "5 left" in done.stderr
    assert "Continue with: assay run suite.yaml --engine inline --max-trials 4 --db 'postgresql://postgres:***@/" in done.stderr
    argv = assay("sql", "SELECT argv FROM runs", "--db", url, "-f", "json").stdout
    assert "tellnobody" not in done.stderr + argv
    assert "postgresql://postgres:***@/" in argv
