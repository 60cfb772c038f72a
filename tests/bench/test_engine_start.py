"""From `assay run` to the first recorded result, against what Ray alone needs to have two actors up: ratio in the same run, medians, fresh
processes, counted from their start."""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.toys import PLUGIN

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]

_RAY = """
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
@ray.remote(num_cpus=1)
class Actor:
    def ping(self): return 1
ray.get([actor.ping.remote() for actor in [Actor.remote(), Actor.remote()]])
print("up", flush=True)
"""


def seconds_to_line(command: list[str], word: str) -> float:
    """Seconds from the start of a process until it prints a line with `word`; then it may end in peace."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        taken = next((time.perf_counter() - began for line in process.stdout if word in line), None)
        process.stdout.read()
    assert process.returncode == 0
    assert taken is not None
    return taken


def seconds_to_first_result(folder: Path) -> float:
    """Seconds from the start of `assay run` until the first result is in the ledger."""
    suite, ledger = folder / "suite.yaml", folder / "assay.db"
    suite.write_text(f"name: start\nplugins: [{PLUGIN}]\nseeds: 4\ntasks: [{{task: toy/single, methods: [ok]}}]\n")
    command = [sys.executable, "-m", "harness.cli", "run", str(suite), "--db", str(ledger), "--workers", "2"]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not _results(ledger):
            assert process.poll() is None, "it ended without a result"
            time.sleep(0.02)
        taken = time.perf_counter() - began
    assert process.returncode == 0
    return taken


def _results(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT COUNT(*) FROM attempt WHERE outcome = 'ok'").fetchone()[0])
    finally:
        connection.close()


def test_first_recorded_result_against_ray_itself(tmp_path):
    ratios = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        peer, mine = seconds_to_line([sys.executable, "-c", _RAY], "up"), seconds_to_first_result(folder)
        ratios.append(mine / peer)
        print(f"round {number}: assay {mine:.2f} s, Ray alone {peer:.2f} s, ratio {mine / peer:.2f}")
    assert statistics.median(ratios) <= 1.3
