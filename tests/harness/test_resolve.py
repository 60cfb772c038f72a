"""Sequential seeds through the command line, on a toy whose truth is known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import EXIT_TRIALS_LEFT

PLUGIN = '''
from typing import ClassVar
from tasks.api import Arm, Claim, Context, Measured, Method, Metric, Task

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

MEAN = Arm("toy/guess", {"mean": 0.0, "twin": 0})
CLAIMS = (
    Claim("outlier", 1, "The outlier is better.", "better", "toy/draw", "value", Arm("toy/guess", {"mean": 9.0}), MEAN),
    Claim("twin", 1, "The twin is better.", "better", "toy/draw", "value", Arm("toy/guess", {"twin": 1}), MEAN),
    Claim("stranger", 1, "Who is that?", "better", "toy/draw", "value", Arm("toy/guess", {"mean": 1.0}), MEAN),
)
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


@pytest.fixture
def assay(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "harness.cli", *arguments], capture_output=True, text=True, cwd=folder)

    return run


def test_seeds_go_only_to_the_pair_that_is_undecided(assay: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = assay("run", "suite.yaml", "--engine", "inline", "--until-resolved", "--max-seeds", "12")
    assert done.returncode == 0, done.stderr
    assert "Look 1 at 5 seeds: 1 pairs" in done.stderr
    assert "Look 3 at 12 seeds: 1 pairs" in done.stderr
    counts = assay("sql", "SELECT COUNT(*) FROM trials WHERE state = 'done' GROUP BY method_params ORDER BY 1", "-f", "csv")
    assert counts.stdout.split()[1:] == ["5", "12", "12"], "the outlier was decided at the first look and got no more seeds"
    again = assay("run", "suite.yaml", "--engine", "inline", "--until-resolved", "--max-seeds", "12")
    assert "nothing to do" in again.stderr


def test_seeds_go_only_to_what_an_open_claim_is_about(assay: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = assay("run", "suite.yaml", "--engine", "inline", "--until-resolved", "--resolve", "claims", "--max-seeds", "12")
    assert done.returncode == 0, done.stderr
    assert "Look 1 at 5 seeds: 1 claims are open." in done.stderr
    assert "Claim twin is open with 12 seeds." in done.stderr
    assert "outlier" not in done.stderr
    assert "stranger" not in done.stderr, "the suite does not run it"
    counts = assay("sql", "SELECT COUNT(*) FROM trials WHERE state = 'done' GROUP BY method_params ORDER BY 1", "-f", "csv")
    assert counts.stdout.split()[1:] == ["5", "12", "12"]


def test_a_budget_holds_for_all_looks_together_and_no_look_is_taken_at_incomplete_seeds(
    assay: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    command = ("run", "suite.yaml", "--engine", "inline", "--until-resolved", "--max-seeds", "12")
    cut = assay(*command, "--max-trials", "20")
    assert cut.returncode == EXIT_TRIALS_LEFT, cut.stderr
    assert "Look 1 at 5 seeds" in cut.stderr
    assert "Look 2" not in cut.stderr
    assert "The budget ended before look 2" in cut.stderr
    count = assay("sql", "SELECT COUNT(*) FROM trials WHERE state = 'done'", "-f", "csv").stdout.split()[-1]
    assert count == "20", "three methods at 5 seeds, then five of the next look's trials"
    assert "Look 3 at 12 seeds" in assay(*command).stderr, "without the budget the same command continues"
