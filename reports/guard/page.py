"""What people read about a guarded board: its facts, how its shown score came down, and every answer it gave."""

from __future__ import annotations

import math
from collections.abc import Sequence

from db.ledger import Ledger
from db.records import SubmissionRow
from reports.anchors import anchor
from reports.document import Cell, Column, Document, Row, Section, Table, Text
from reports.document import Facts as FactsBlock
from reports.guard.board import LADDER, Facts
from reports.provenance import literal

COLUMNS = (
    Column("number", "number", "right", doc="Position in the log of the board."),
    Column("at", "time", doc="When it was answered, UTC."),
    Column("submitter", "submitter", doc="Who submitted."),
    Column("method", "method", doc="The method submitted, where the submitter named one."),
    Column("mechanism", "mechanism", doc="ladder: a submission, answered with the board's best error. thresholdout: a question."),
    Column("shown", "shown", "right", doc="The board's best error (ladder) or an accuracy (thresholdout), as the submitter saw it."),
    Column("released", "from the board", doc="Whether that is new: a better error, or an accuracy read from the hidden rows."),
    Column("left", "budget left", "right", doc="Of the board, after this answer."),
    Column("note", "note", doc="What the submitter said, or the question.", wrap=True, spare=3),
)


def optimism(rows: int, submissions: int) -> float:
    """How far below the truth the best of k errors lies by chance on an open board of n rows that shows each of them: at most about
    sqrt(2 log k / n) / 2, the expected maximum of k means of n fair coins; an attacker who combines them gets further."""
    return math.sqrt(2 * math.log(max(2, submissions)) / rows) / 2


def log_table(name: str, submissions: Sequence[SubmissionRow], caption: str, without: Sequence[str] = ()) -> Table:
    """The given rows of the board's log; `without`: keys of columns to leave out."""
    chosen = [at for at, column in enumerate(COLUMNS) if column.key not in without]
    rows = []
    for one in submissions:
        cells = (
            Cell(str(one.number), one.number),
            Cell("" if one.at is None else f"{one.at:%Y-%m-%d %H:%M:%S}", None if one.at is None else one.at.isoformat()),
            Cell(one.submitter, one.submitter),
            Cell(one.method or "", one.method),
            Cell(one.mechanism, one.mechanism),
            Cell("–" if one.displayed is None else f"{one.displayed:.4g}", one.displayed),
            Cell("yes" if one.released else "no", "yes" if one.released else "no", tone="good" if one.released else "muted"),
            Cell("" if one.budget_left is None else f"{one.budget_left:.0f}", one.budget_left),
            Cell(one.note, one.note),
        )
        rows.append(Row(tuple(cells[at] for at in chosen)))
    return Table(anchor("board", name), caption, tuple(COLUMNS[at] for at in chosen), tuple(rows), where=f"board = {literal(name)}")


def log_document(name: str, submissions: Sequence[SubmissionRow]) -> Document:
    """Every answer of the board."""
    table = log_table(name, submissions, f"Answers of the board {name}")
    return Document(f"Log of the guarded board {name}", (Section(f"{len(submissions)} answers", anchor("log", name), (table,)),))


def board_document(facts: Facts, submissions: Sequence[SubmissionRow]) -> Document:
    """The board as its submitters may see it: best error shown, how it came down, and what the guard is worth."""
    entries = sum(one.mechanism == LADDER for one in submissions)
    params = "".join(f" {name}={value}" for name, value in sorted(facts.params.items()))
    items = (
        ("task", f"{facts.task}{params}"),
        ("hidden rows", f"{facts.rows:,} ({facts.development:,} development rows)"),
        ("budget", f"{facts.budget} submissions, {facts.share} by one submitter; {facts.questions} answers from the hidden rows"),
        ("guard", f"Ladder, one standard error and at least {facts.step:g}; Thresholdout, 4 / sqrt(rows asked about)"),
        ("luck", f"an open board would show {optimism(facts.rows, entries):.3f} too little to the best of so many worthless submissions"),
        ("since", facts.created[:19].replace("T", " ")),
    )
    return Document(f"Guarded board {facts.name}", (_section(facts.name, submissions, items),))


def board_pages(ledger: Ledger) -> list[Section]:
    """A page with a part per guarded board that the ledger holds answers of; empty when there is none."""
    names = ledger.query("SELECT DISTINCT board FROM submissions ORDER BY board").column(0).to_pylist()
    parts = tuple(_section(name, ledger.submissions(name)) for name in names)
    summary = "Scores on hidden labels, shown so that they can't be climbed by looking (paper 213)."
    return [Section("Guarded boards", "guarded-boards", (), parts, "Ledger", summary)] if parts else []


def _section(name: str, submissions: Sequence[SubmissionRow], more: Sequence[tuple[str, str]] = ()) -> Section:
    """What the answers of one board say about it, and what `more` is known."""
    entries = [one for one in submissions if one.mechanism == LADDER]
    asked = [one for one in submissions if one.mechanism != LADDER]
    steps = [one for one in entries if one.released]
    last = steps[-1] if steps else None
    items = [
        (
            "best error shown",
            "no submission yet" if last is None or last.displayed is None else f"{last.displayed:.4g}, by {last.submitter}",
        ),
        ("submissions", f"{len(entries)} by {len({one.submitter for one in entries})} submitters" + _left(entries)),
        ("questions", f"{len(asked)}, {sum(one.released for one in asked)} answered from the hidden rows" + _left(asked)),
        *more,
    ]
    table = log_table(name, steps, "How the shown error came down", without=("mechanism", "released"))
    ties = Text("Submissions that are not better by more than their standard error share the best one's place.", "muted")
    return Section(name, anchor("guarded", name), (FactsBlock(tuple(items)), table, ties))


def _left(answers: Sequence[SubmissionRow]) -> str:
    left = answers[-1].budget_left if answers else None
    return "" if left is None else f", {left:.0f} left"
