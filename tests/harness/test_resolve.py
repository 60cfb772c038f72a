"""Sequential seeds through the command line, on a toy whose truth is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = '''
from typing import ClassVar
from tasks.api import Context, Measured, Method, Metric, Task

class Guess(Method, family="toy", name="guess"):
    """Draws around `mean`."""
    mean: float = 0.0
    twin: int = 0

class Draw(Task, family="toy", name="draw", accepts=(Guess,), seconds=0.001):
    """A noisy look at the method's mean."""
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("value", "1", "higher", "the draw", primary=True),)

    def data_fingerprint(self):
        return "toy"

    def run(self, method, seed, context):
        noise = self.streams(seed * 10 + method.twin).numpy("noise").normal()
        return Measured({"value": method.mean + noise})
'''
SUITE = """name: sequential
plugins: [toy.py]
seeds: 5
tasks: [{task: toy/draw, methods: [{method: guess, zip: [{mean: 0.0}, {mean: 0.0, twin: 1}, {mean: 9.0, twin: 2}]}]}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "toy.py").write_text(PLUGIN)
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


def test_seeds_go_only_to_the_pair_that_is_undecided(folder: Path) -> None:
    def assay(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "harness.cli", *arguments], capture_output=True, text=True, cwd=folder)

    done = assay("run", "suite.yaml", "--engine", "inline", "--until-resolved", "--max-seeds", "12")
    assert done.returncode == 0, done.stderr
    assert "Look 1 at 5 seeds: 1 pairs" in done.stderr
    assert "Look 3 at 12 seeds: 1 pairs" in done.stderr
    counts = assay("sql", "SELECT COUNT(*) FROM trials WHERE state = 'done' GROUP BY method_params ORDER BY 1", "-f", "csv")
    assert counts.stdout.split()[1:] == ["5", "12", "12"], "the outlier was decided at the first look and got no more seeds"
    again = assay("run", "suite.yaml", "--engine", "inline", "--until-resolved", "--max-seeds", "12")
    assert "nothing to do" in again.stderr
