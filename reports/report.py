"""The whole report of a ledger as one document: an overview, then a page per family."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from db.ledger import Ledger
from reports.across import across_tasks, shared_out
from reports.anchors import anchor
from reports.boards import Board, Question, families, load_boards
from reports.claims.page import TONES, explanation, paper_titles, verdict_table
from reports.claims.verdicts import Decision, decide, families_with_claims
from reports.curves import load_curves
from reports.document import Block, Cell, Column, Document, Facts, Plot, Row, Section, Table, Text, dense
from reports.errors import BadQuestion, NoSuchParam, NothingToReport
from reports.first_places import first_places
from reports.guard.page import board_pages
from reports.leaderboard import board_table
from reports.ledger_pages import failures_page, runs_page
from reports.numbers import duration
from reports.pages import methods_page, tasks_page
from reports.plots.build import family_palette, figures
from reports.plots.specs import curve_metrics
from reports.questions import EVERYTHING, Filter, each, keep
from reports.standings import Policy, Standing, standing

#: Families with more measured cells show their primary metric only.
MOST_CELLS = 20_000

#: Families with more boards get a page per task instead of one long page; the first places of so many boards stand on the family's.
MOST_BOARDS = 8

#: Stands at the top of the page of claims.
CLAIMS_SUMMARY = (
    "What the papers say, checked on these tasks. Supporting asks for one-sided evidence at 5 %, refuting for 1 %, both corrected over the "
    "family's claims and confirmed by sign flips. Refuted means: not reproduced under this protocol."
)


def report(
    ledger: Ledger,
    *,
    only: Sequence[str] = (),
    policy: Policy = "drop",
    narrow: Filter = EVERYTHING,
    weights: Mapping[str, float] | None = None,
    now: datetime | None = None,
) -> Document:
    """Everything that the ledger holds, or the families named in `only`, from the results that pass the filter `narrow`.

    `weights`: of tasks, in the boards across tasks (`reports.across`).
    """
    held = families(ledger)
    unknown = [name for name in only if name not in held]
    if unknown:
        raise BadQuestion(f"The ledger holds no results of a family {unknown[0]!r}; it holds {', '.join(held) or 'nothing yet'}.")
    chosen = [name for name in held if not only or name in only]
    narrow.check(ledger)
    try:
        standings = each(chosen, lambda name: _standings(ledger, name, policy, narrow))
    except NothingToReport as error:
        raise NothingToReport(f"No trial of {', '.join(chosen)} fulfils {narrow.text}.") from error
    shares = shared_out(weights or {}, {name: [one.board for one in group] for name, group in standings.items()})
    pages = [family_page(ledger, name, standings[name], shares[name]) for name in standings]
    titles = paper_titles(ledger)
    methods = methods_page(ledger, standings, titles, narrow)
    decided = _decisions(ledger, only, narrow)
    pages += claims_page(decided, titles)
    pages += methods + tasks_page(ledger, standings) + failures_page(ledger, only, narrow) + runs_page(ledger, narrow)
    facts = {
        "ledger": re.split(r"[/@]", ledger.url)[-1],  # the name only: no password, no path of this machine
        **({"only": narrow.text} if narrow else {}),
        "made": f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    if not (narrow or only):
        pages += board_pages(ledger)
    subtitle = f"Only {narrow.text}" if narrow else "Benchmark results with intervals"
    return Document("Assay report", (overview(ledger, standings, narrow, decided), *pages), subtitle, facts)


def _standings(ledger: Ledger, family: str, policy: Policy, narrow: Filter) -> list[Standing]:
    return [standing(board, policy=policy) for board in load_boards(ledger, Question(family, only=narrow))]


def _counts(ledger: Ledger, narrow: Filter) -> dict[str, dict[str, Any]]:
    """Numbers of trials, tasks and methods per family, and their time."""
    extra, params = narrow.sql()
    if narrow.where:
        wanted = "family, task, method, task_params, method_params, seed, state, seconds"
        rows = keep(ledger.query(f"SELECT {wanted} FROM trials WHERE 1 = 1{extra}", params), narrow.where).to_pylist()
        out: dict[str, dict[str, Any]] = {}
        for family in sorted({row["family"] for row in rows}):
            mine = [row for row in rows if row["family"] == family]
            out[family] = {
                "trials": len(mine),
                "tasks": len({row["task"] for row in mine}),
                "methods": len({row["method"] for row in mine}),
                "done": sum(row["state"] == "done" for row in mine),
                "failed": sum(row["state"] in ("failed", "quarantined") for row in mine),
                "seconds": sum(row["seconds"] or 0.0 for row in mine),
            }
        return out
    sql = (
        "SELECT family, COUNT(*) AS trials, COUNT(DISTINCT task) AS tasks, COUNT(DISTINCT method) AS methods, "
        "SUM(CASE WHEN state = 'done' THEN 1 ELSE 0 END) AS done, "
        "SUM(CASE WHEN state IN ('failed', 'quarantined') THEN 1 ELSE 0 END) AS failed, SUM(seconds) AS seconds "
        f"FROM trials WHERE 1 = 1{extra} GROUP BY family"
    )
    return {row["family"]: row for row in ledger.query(sql, params).to_pylist()}


def overview(
    ledger: Ledger,
    standings: Mapping[str, Sequence[Standing]],
    narrow: Filter = EVERYTHING,
    decided: Mapping[str, Sequence[Decision]] | None = None,
) -> Section:
    """Counts, one line per family, verdicts, and who leads each task of the families that have no such table themselves."""
    counts = {name: row for name, row in _counts(ledger, narrow).items() if name in standings}
    if not counts:
        return Section("Overview", "overview", (Text("The ledger holds no trials yet. `assay run quickstart` fills it."),))
    total = {name: sum(int(row[name] or 0) for row in counts.values()) for name in ("trials", "tasks", "methods", "done", "failed")}
    facts: list[tuple[str, str]] = [(name, f"{number:,}") for name, number in total.items()]
    facts.append(("compute", duration(sum(float(row["seconds"] or 0) for row in counts.values()))))
    heads = (
        Column("family", "family"),
        *(Column(name, name, "right") for name in ("tasks", "methods", "trials", "done", "failed")),
        Column("seconds", "compute", "right"),
    )
    rows = []
    for name in standings:
        row = counts[name]
        numbers = [int(row[key] or 0) for key in ("tasks", "methods", "trials", "done", "failed")]
        cells = [
            Cell(f"{number:,}" if number or key != "failed" else "", number)
            for key, number in zip(("t", "m", "n", "d", "failed"), numbers, strict=True)
        ]
        if numbers[-1]:
            cells[-1] = Cell(f"{numbers[-1]:,}", numbers[-1], tone="bad")
        seconds = float(row["seconds"] or 0)
        rows.append(Row((Cell(title(name), title(name), href=f"#{anchor('family', name)}"), *cells, Cell(duration(seconds), seconds))))
    short = [one for group in standings.values() if len(group) <= MOST_BOARDS for one in group]
    blocks: list[Block] = [Facts(tuple(facts)), Table("families", "Families", heads, tuple(rows))]
    if decided:
        blocks.append(_verdicts(decided))
    return Section("Overview", "overview", (*blocks, first_places(short)) if short else tuple(blocks))


def family_page(ledger: Ledger, family: str, standings: Sequence[Standing], weights: Mapping[str, float] | None = None) -> Section:
    """The boards of a family, each with its plots."""
    curves = load_curves(ledger, [ranked.board for ranked in standings], curve_metrics(family))
    palette = family_palette(standings)
    everything = sum(len(ranked.board.entries) * len(ranked.board.metrics) for ranked in standings) <= MOST_CELLS
    boards = []
    for ranked in standings:
        board = ranked.board
        blocks: list[Block] = [board_table(ranked, all_metrics=everything, linked=True)]
        blocks += [
            Plot(f"plot-{board.anchor}-{number}", figure) for number, figure in enumerate(figures(ranked, curves[board.anchor], palette), 1)
        ]
        boards.append(Section(board.name, f"board-{board.anchor}", tuple(blocks), summary=_first_line(board)))
    across = across_tasks(standings, family, weights)
    if len(boards) <= MOST_BOARDS:
        return Section(title(family), anchor("family", family), (), (*boards, *across), "Families")
    table = first_places(standings, anchor("leaders", family))
    return Section(title(family), anchor("family", family), (table,), (*across, *_task_pages(standings, boards)), "Families")


def _task_pages(standings: Sequence[Standing], boards: Sequence[Section]) -> list[Section]:
    """A page per task that holds its boards, whose own summaries would only repeat the page's."""
    by_task: dict[str, list[tuple[Board, Section]]] = defaultdict(list)
    for ranked, section in zip(standings, boards, strict=True):
        by_task[ranked.board.task].append((ranked.board, section))
    out = []
    for task, found in by_task.items():
        if len(found) == 1:
            out.append(replace(found[0][1], page=True))
        else:
            parts = tuple(replace(section, summary="") for _, section in found)
            out.append(Section(found[0][0].label, anchor("task-boards", task), (), parts, summary=found[0][1].summary, page=True))
    return out


def _decisions(ledger: Ledger, only: Sequence[str], narrow: Filter) -> dict[str, list[Decision]]:
    """By family, of those with claims and results that pass the filter."""
    out = {}
    for family in families_with_claims(ledger):
        if not only or family in only:
            with suppress(NothingToReport, NoSuchParam):
                out[family] = list(decide(ledger, family, narrow))
    return out


def _verdicts(decided: Mapping[str, Sequence[Decision]]) -> Table:
    """How many claims of each family have which status; negative controls are counted apart."""
    heads = (
        Column("family", "family"),
        *(Column(status, status, "right") for status in TONES),
        Column("controls", "controls", "right", doc="Statements that are expected not to hold."),
        Column("surprising", "of them supported", "right", doc="These cast doubt on their task."),
    )
    rows = []
    for family, decisions in decided.items():
        counts = Counter(one.status for one in decisions if not one.definition.control)
        controls, surprising = sum(one.definition.control for one in decisions), sum(one.surprising for one in decisions)
        rows.append(
            Row(
                (
                    Cell(title(family), title(family), href=f"#{anchor('claims-part', family)}"),
                    *(Cell(str(counts[status] or ""), counts[status], tone=tone) for status, tone in TONES.items()),
                    Cell(str(controls or ""), controls, tone="muted"),
                    Cell(str(surprising or ""), surprising, tone="bad"),
                )
            )
        )
    return dense(Table("verdict-counts", "Verdicts on the papers' claims", heads, tuple(rows)))


def claims_page(decided: Mapping[str, Sequence[Decision]], titles: Mapping[int, str]) -> list[Section]:
    """The verdicts of all families with claims, each claim that was attempted explained; empty when nothing is claimed."""
    parts = []
    for family, decisions in decided.items():
        attempted = [one for one in decisions if one.verdict != "not attempted"]
        explained = tuple(replace(explanation(one, titles.get(one.definition.paper, "")), page=True) for one in attempted)
        table = verdict_table(decisions, anchor("claims", family), f"Claims: {title(family)}", {one.title for one in explained})
        parts.append(Section(title(family), anchor("claims-part", family), (table,), explained))
    return [Section("Claims", "claims", (), tuple(parts), "Verdicts", CLAIMS_SUMMARY)] if parts else []


def _first_line(board: Board) -> str:
    return " ".join(board.doc.split("\n\n")[0].split())


def title(family: str) -> str:
    return family.replace("_", " ").capitalize()
