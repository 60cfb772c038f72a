"""The recorded runs under docs/recorded: unchanged, complete, and the source of every line of docs/verdicts-*.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db import open_ledger
from reports.claims.evidence import Unusable, select
from reports.claims.verdicts import gather, parse

ROOT = Path(__file__).parents[1]
#: What a family was asked to cover.
PAPERS = {"bandit_regret": (14, 43, 63, 67, 69, 74, 97, 144, 145, 173, 213)}
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


def test_every_paper_with_a_verdict_has_its_methods_and_tasks_listed(recorded: tuple[str, Path]) -> None:
    family, ledger = recorded
    if family not in PAPERS:
        pytest.skip("its papers are not listed here")
    rows = {row["paper"]: row for row in json.loads(assay("papers", "--json", "--db", str(ledger)))}
    for paper in PAPERS[family]:
        assert rows[paper]["tasks"]
        assert rows[paper]["methods"]
        assert rows[paper]["verdicts"]
        assert not {"supported (control)", "not attempted"} & set(rows[paper]["verdicts"].values())


#: What two arms of a claim spend, the first that their task measures, and how much more the claimed winner may: five hundredths of a bit
#: per weight (rule of the methods' card), else one percent.
RATES = {"bits_per_weight": 0.05, "compressed_share": 0.0, "bits_per_dimension": 0.0, "bits_per_frame": 0.0}
#: Claims about what more bits buy.
UNEQUAL = re.compile(r"rvq-falls-at-stage-\d|spqr-outliers-help|eq-net-regularisation-helps-2")


def test_no_claimed_winner_spends_more_bits_than_its_opponent(recorded: tuple[str, Path]) -> None:
    family, path = recorded
    if family != "quantization":
        pytest.skip("bandits have no bits")
    compared = set()
    with open_ledger(str(path)) as ledger:
        rows = ledger.query("SELECT claim, paper, family, statement, definition, hash FROM claims").to_pylist()
        claims = [parse(row) for row in rows]
        material = gather(ledger, family, claims)
        for claim in claims:
            if claim.kind not in ("better", "equivalent") or claim.control or UNEQUAL.fullmatch(claim.id):
                continue
            try:
                selection = select(claim, material)
            except Unusable:
                continue
            board = selection.boards[0]
            rate = next((name for name in RATES if name in board.metrics), None)
            if rate is None or claim.metric == rate:
                continue
            ours, theirs = (float(np.nanmean(board.values[rate][selection.one_entry(board, arm)])) for arm in (claim.a, claim.b))
            assert ours <= theirs * 1.01 + RATES[rate], f"{claim.id}: {ours} against {theirs} {rate}"
            compared.add(claim.id)
    assert len(compared) > 40


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
