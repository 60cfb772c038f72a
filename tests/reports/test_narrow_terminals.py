"""Leaderboards and claims on narrow terminals: what people came for stays readable, what has no room is named."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sample_ledger import CLAIM, claim_row

from db import open_ledger
from db.ledger import Ledger
from db.records import Catalogue
from reports.boards import Question, load_boards
from reports.claims.page import claims_document
from reports.claims.verdicts import decide
from reports.document import Document
from reports.html import render as render_html
from reports.leaderboard import leaderboard
from reports.render import data, terminal
from reports.render.fit import NARROW_GAP, WIDE_GAP, Texts, fold, layout
from reports.report import report

LONG = "a-claim-whose-name-says-what-it-is-about"


def shown(document: Document, width: int, everything: bool = False) -> list[str]:
    out = io.StringIO()
    terminal.render(document, Console(file=out, width=width, color_system=None), everything)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.fixture
def claimed(sample_path: Path, tmp_path: Path) -> Iterator[Ledger]:
    """Three claims nobody can decide here, one supported and one refuted, declared in that order."""
    absent = [CLAIM | {"id": f"{LONG}-{at}", "task": "robust_training/elsewhere"} for at in range(3)]
    wrong = CLAIM | {"id": f"wrong-{LONG}", "a": CLAIM["b"], "b": CLAIM["a"], "statement": "Standard training is more robust. " * 4}
    copy = shutil.copy(sample_path, tmp_path / "claimed.db")
    with open_ledger(str(copy)) as opened:
        opened.write_catalogue(Catalogue(claims=[claim_row(one, "robust_training") for one in (*absent, wrong, CLAIM)]))
        yield opened


@pytest.mark.parametrize("width", [60, 80])
def test_every_row_of_a_leaderboard_shows_method_params_value_and_group(ledger: Ledger, width: int) -> None:
    document = leaderboard("quantization", load_boards(ledger, Question("quantization")))
    [table] = document.tables()
    keys = [column.key for column in table.columns]
    lines = shown(document, width)
    assert max(map(len, lines)) <= width
    for row in table.rows:
        cells = dict(zip(keys, (cell.text for cell in row.cells), strict=True))
        wanted = [cells[key] for key in ("method", "params", "mean", "bits_per_weight", "group")]
        found = [line.split() for line in lines if all(text in line.split() for text in wanted if text)]
        assert found, wanted
    dropped = re.search(r"Left out at (\d+) columns: (.*?)\. A wider terminal or a pipe \(\| less -S\) shows them\.", " ".join(lines))
    left_out = dropped[2].split(", ") if dropped else []
    assert left_out == {60: ["95 % interval", "n", "front"], 80: ["95 % interval", "n"]}[width]
    assert ("n" in lines[headers_end(lines)].split()) == (not left_out)


def headers_end(lines: list[str]) -> int:
    """The number of the last line of the first table's headers."""
    return next(number for number, line in enumerate(lines) if line.startswith("──")) - 1


def test_a_wide_terminal_shows_everything(ledger: Ledger) -> None:
    document = leaderboard("quantization", load_boards(ledger, Question("quantization")))
    lines = shown(document, 200)
    assert not any("Left out" in line for line in lines)
    assert any("95 % interval" in line and "bits_per_byte_increase ↓ (bits/byte)" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80])
def test_claims_show_their_whole_name_and_verdict(claimed: Ledger, width: int) -> None:
    lines = shown(claims_document("robust_training", decide(claimed, "robust_training")), width)
    assert max(map(len, lines)) <= width
    assert any(line.startswith("trades-beats-") and "supported" in line for line in lines)
    assert any(line.startswith("wrong-a-claim-") and "refuted" in line for line in lines)
    first = [line.split()[0] for line in lines[4:] if line and not line.startswith(" ")]
    assert f"wrong-{LONG}" in "".join(first)


def test_claims_that_nobody_tried_are_counted_and_listed_on_demand(claimed: Ledger) -> None:
    decisions = decide(claimed, "robust_training")
    document = claims_document("robust_training", decisions)
    [table] = document.tables()
    assert [row.cells[3].text for row in table.rows] == ["supported", "refuted", *["not attempted"] * 3]
    folded, whole = shown(document, 200), shown(document, 200, everything=True)
    assert "3 claims are not attempted; --all lists them." in folded
    assert not any(LONG + "-1" in line for line in folded)
    assert sum(line.startswith(LONG) for line in whole) == 3
    assert data.render_csv(document.tables()).count(LONG + "-") == 3
    nothing = shown(claims_document("robust_training", [one for one in decisions if one.verdict == "not attempted"]), 80)
    assert "3 claims are not attempted; --all lists them." in nothing
    assert not any(line.startswith("claim ") for line in nothing)


def test_html_closes_the_claims_that_nobody_tried(claimed: Ledger) -> None:
    page = render_html(report(claimed))
    before, details = page.split("<details><summary>3 claims are not attempted</summary>")
    inside = details.partition("</details>")[0]
    assert LONG + "-1" in inside
    assert LONG + "-1" not in before
    assert "trades-beats-standard" in before
    assert ">effect<" not in inside


names = st.text(st.sampled_from("ab-_ =,/"), max_size=30)
columns = st.lists(
    st.builds(Texts, names, st.tuples(names, names), numeric=st.booleans(), wrap=st.booleans(), spare=st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@given(columns, st.integers(20, 120))
def test_a_layout_fits_keeps_what_is_essential_and_drops_the_most_dispensable_first(made: list[Texts], room: int) -> None:
    found = layout(made, room)
    assert found.shown[0] == 0
    assert {at for at, one in enumerate(made) if one.spare == 0} <= set(found.shown)
    gone = [one.spare for at, one in enumerate(made) if at not in found.shown]
    assert not gone or min(gone) >= max([made[at].spare for at in found.shown if at > 0] or [0])
    if found.widths is None:
        assert sum(one.natural for one in made) + WIDE_GAP * (len(made) - 1) <= room
        return
    assert all(width >= made[at].least for at, width in zip(found.shown, found.widths, strict=True))
    if any(made[at].spare for at in found.shown[1:]) or not gone:
        least = sum(made[at].least for at in found.shown) + NARROW_GAP * (len(found.shown) - 1)
        assert sum(found.widths) + NARROW_GAP * (len(found.shown) - 1) <= max(room, least)


@given(names, st.integers(4, 40))
def test_folding_changes_nothing_but_white_space(text: str, width: int) -> None:
    assert fold(text, width).split() == fold(text, width).replace("\n", " ").split()
    assert "".join(fold(text, width).split()) == "".join(text.split())


def test_names_break_after_punctuation_and_words_stay_whole() -> None:
    assert fold("bits_per_byte_increase ↓ (bit/byte)", 10).split("\n") == ["bits_per_", "byte_", "increase ↓", "(bit/byte)"]
    assert fold("bits=4 per=channel", 14).split("\n") == ["bits=4", "per=channel"]
    assert fold("mfac-recomputation-helps", 14).split("\n") == ["mfac-", "recomputation-", "helps"]
