"""The recorded runs under docs/recorded: unchanged, complete, and the source of every line of docs/verdicts-*.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAMILIES = sorted(path.name for path in (ROOT / "docs" / "recorded").iterdir())


def assay(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "harness.cli", *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=FAMILIES)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A family and the ledger its bundle makes."""
    ledger = tmp_path_factory.mktemp(request.param) / "assay.db"
    assay("import", f"docs/recorded/{request.param}", "--db", str(ledger))
    return request.param, ledger


@pytest.mark.parametrize("family", FAMILIES)
def test_bundles_have_their_hashes_and_recomputed_leaderboards_agree(family: str) -> None:
    assay("verify", f"docs/recorded/{family}")


def test_verdicts_in_the_docs_are_what_the_bundle_gives(recorded: tuple[str, Path]) -> None:
    family, ledger = recorded
    written = (ROOT / "docs" / f"verdicts-{family}.md").read_text(encoding="utf-8")
    assert assay("claims", family, "--no-record", "--format", "markdown", "--db", str(ledger)) == written


def test_no_trial_of_a_recorded_run_is_left_without_a_result(recorded: tuple[str, Path]) -> None:
    _, ledger = recorded
    assert (
        assay("sql", "SELECT COUNT(*) FROM trials WHERE outcome IS NULL OR outcome <> 'ok'", "-f", "csv", "--db", str(ledger)).split()[-1]
        == "0"
    )


def test_the_table_beside_small_runs_is_what_its_query_gives(recorded: tuple[str, Path]) -> None:
    family, ledger = recorded
    if family == "quantization":
        table = assay("sql", "--file", "docs/small-runs.sql", "--db", str(ledger), "--format", "markdown")
        assert table.strip() in (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")
