"""A thousand seeds of ten linear policies through Ray: every trial lands in the ledger exactly once, and a second run does nothing."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

SUITE = """\
name: linear-thousand
seeds: {start: 1000, count: 1000}
tasks:
  - task: bandit_regret/linear
    params: {d: 16, arms: 100, horizon: 10000, gap: 0.18, zeta: 0.02}
    methods:
      - uniform
      - epsilon-greedy
      - {method: oful, sweep: {beta: [1.0, 3.0]}}
      - {method: oful, params: {radius: confidence, beta: 1.0}}
      - lints
      - {method: ds-oful, sweep: {gamma: [0.02, 0.05, 0.08]}}
      - suplinucb
"""


def test_a_thousand_seeds_of_ten_policies_are_in_the_ledger_exactly_once(tmp_path: Path):
    suite, ledger = tmp_path / "suite.yaml", tmp_path / "ledger.db"
    suite.write_text(SUITE)
    command = [sys.executable, "-m", "harness.cli", "run", str(suite), "--db", str(ledger), "--engine", "ray", "--workers", "2"]
    start = time.perf_counter()
    first = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    seconds = time.perf_counter() - start
    assert first.returncode == 0, first.stderr
    second = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert second.returncode == 0, second.stderr
    with sqlite3.connect(ledger) as connection:
        ((trials, done, distinct),) = connection.execute("SELECT count(*), sum(state = 'done'), count(DISTINCT trial) FROM trials")
        ((attempts, accepted),) = connection.execute("SELECT count(*), sum(accepted) FROM attempts")
    print(f"\n{trials} trials of 10,000 rounds in {seconds:.0f} s: {trials / seconds:.0f} trials/s, {trials * 1e4 / seconds:.3g} rounds/s")
    assert (trials, done, distinct, attempts, accepted) == (10_000,) * 5
    assert not re.search(r"\b[1-9][0-9]* trials to do", second.stderr)
