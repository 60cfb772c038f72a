"""The catalogue's pages: an index of methods and one of tasks, with a page for each."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from db.ledger import Ledger
from reports.anchors import anchor
from reports.boards import told
from reports.columns import COLUMNS, metric_cells
from reports.document import Block, Cell, Column, Facts, Row, Section, Table, dense
from reports.first_places import first_places
from reports.history import histories
from reports.numbers import formatter
from reports.questions import EVERYTHING, Filter
from reports.standings import Standing

#: Above this many rows methods have no page of their own, and the index holds what there is: the family pages have the results.
MOST_RESULTS = 2000


def methods_page(
    ledger: Ledger, standings: Mapping[str, Sequence[Standing]], titles: Mapping[int, str], narrow: Filter = EVERYTHING
) -> list[Section]:
    """An index of the methods that have results, and a page for each: what it is, its params, how it did on every task, its history."""
    catalogue = {
        row["method"]: row
        for row in ledger.query("SELECT method, family, version, label, doc, paper, knowledge, params_schema FROM methods").to_pylist()
    }
    results: dict[str, list[tuple[Standing, int]]] = defaultdict(list)
    for ranked in (one for group in standings.values() for one in group):
        for at in ranked.order:
            results[ranked.board.entries[at].method].append((ranked, at))
    if not results:
        return []
    full = sum(len(found) for found in results.values()) <= MOST_RESULTS
    history: dict[str, list[Block]] = {}
    if full:
        wanted = {
            name: {(one.board.task, one.board.task_params, one.board.entries[at].params) for one, at in found}
            for name, found in results.items()
        }
        history = histories(ledger, wanted, narrow)
    names = sorted(results, key=lambda one: _label(one, catalogue))
    pages = tuple(_method(name, catalogue.get(name, {}), results[name], titles, full, history.get(name, [])) for name in names)
    index = _methods_index(names, catalogue, results)
    return [Section("Methods", "methods", (index,), pages, "Catalogue", f"{len(pages)} methods with results.")]


def _methods_index(
    names: Sequence[str], catalogue: Mapping[str, Mapping[str, Any]], results: Mapping[str, Sequence[tuple[Standing, int]]]
) -> Table:
    heads = (
        Column("method", "method"),
        Column("family", "family"),
        Column("paper", "paper", "right", doc="Number in the list of papers (assay papers)."),
        Column("boards", "boards", "right", doc="Tasks, by their params, on which it has a result."),
        Column("first", "first", "right", doc="Boards on which one of its configurations can't be told apart from the best mean."),
        Column("failed", "failed", "right", doc="Trials without a finite result that have no attempts left."),
        Column("doc", "what it does", wrap=True),
    )
    rows = []
    for name in names:
        row, found = catalogue.get(name, {}), results[name]
        paper, family = row.get("paper"), name.partition("/")[0]
        boards = len({ranked.board.anchor for ranked, at in found if at in ranked.ranked})
        first = len({ranked.board.anchor for ranked, at in found if at in ranked.best})
        failed = sum(ranked.failed[at] for ranked, at in found)
        rows.append(
            Row(
                (
                    Cell(str(row.get("label") or name), name, href=f"#{anchor('method', name)}"),
                    Cell(family, family, tone="muted"),
                    Cell("" if paper is None else str(paper), paper, tone="muted"),
                    Cell(str(boards), boards),
                    Cell(str(first) if first else "", first),
                    Cell(str(failed) if failed else "", failed, tone="bad" if failed else "plain"),
                    Cell(_sentence(row.get("doc")), tone="muted"),
                )
            )
        )
    return dense(Table("methods-index", "Methods", heads, tuple(rows)))


def _label(method: str, catalogue: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    return method.partition("/")[0], str(catalogue.get(method, {}).get("label") or method).lower()


def _method(
    name: str,
    row: Mapping[str, Any],
    found: Sequence[tuple[Standing, int]],
    titles: Mapping[int, str],
    full: bool,
    history: Sequence[Block],
) -> Section:
    paper = row.get("paper")
    facts = [("id", name), ("family", name.partition("/")[0]), ("version", str(row.get("version", "unknown")))]
    if paper is not None:
        facts.append(("paper", f"{paper}, {titles.get(paper, 'title unknown')}"))
    if knowledge := told(row.get("knowledge")):
        facts.append(("is told", ", ".join(knowledge)))
    blocks: list[Block] = [Facts(tuple(facts)), *_params(name, row.get("params_schema"))]
    if full:
        blocks.append(_results(name, found))
    blocks += history
    return Section(str(row.get("label") or name), anchor("method", name), tuple(blocks), summary=_paragraph(row.get("doc")), page=True)


def _sentence(doc: str | None) -> str:
    """The first sentence of a docstring."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", _paragraph(doc), maxsplit=1)[0]


def _paragraph(doc: str | None) -> str:
    return " ".join((doc or "").split("\n\n")[0].split())


def _params(name: str, schema: str | None) -> list[Block]:
    properties = json.loads(schema or "{}").get("properties", {})
    if not properties:
        return []
    heads = (Column("param", "param"), Column("type", "type"), Column("default", "default"), Column("doc", "meaning", wrap=True))
    rows = []
    for param, one in properties.items():
        kind = str(one.get("type") or ("choice" if "enum" in one or "const" in one else "value"))
        if "enum" in one:
            kind = ", ".join(json.dumps(value) for value in one["enum"])
        default = json.dumps(one["default"]) if "default" in one else "required"
        rows.append(Row((Cell(param, param), Cell(kind, tone="muted"), Cell(default), Cell(str(one.get("description", "")), tone="muted"))))
    return [Table(anchor("params", name), "Params", heads, tuple(rows))]


def _results(name: str, found: Sequence[tuple[Standing, int]]) -> Table:
    heads = (
        Column("task", "task"),
        Column("params", "params"),
        Column("metric", "metric"),
        Column("mean", "mean", "right"),
        Column("interval", "95 % interval", "right"),
        Column("n", "n", "right"),
        Column("rank", "rank", "right"),
        Column("of", "of", "right"),
    )
    rows = []
    for ranked, at in found:
        board, table = ranked.board, ranked.table
        cell = metric_cells(ranked, ranked.metric.id, [at])[0]
        low, high = ranked.ranks[0][at], ranked.ranks[1][at]
        write = formatter(table.mean, (table.high - table.low) / 2)
        interval = "–" if cell.low is None or cell.high is None else f"[{write(cell.low)}, {write(cell.high)}]"
        where = board.coordinates(at)
        rows.append(
            Row(
                (
                    Cell(board.name, board.name, href=f"#board-{board.anchor}"),
                    Cell(board.entries[at].short, board.entries[at].short),
                    Cell(f"{ranked.metric.id} {ranked.metric.arrow}".strip(), ranked.metric.id, tone="muted"),
                    cell,
                    Cell(interval),
                    COLUMNS["n"].compute(ranked, [at])[0],
                    Cell("–" if not low else str(low) if low == high else f"{low}–{high}", (low + high) / 2 if low else None),
                    Cell(str(len(ranked.ranked)), len(ranked.ranked), tone="muted"),
                ),
                board.trial_keys(at),
                f"{board.where()} AND {where.method_where()}",
            )
        )
    return dense(Table(anchor("results", name), "Results", heads, tuple(rows), options=found[0][0].cell(0).reading))


def tasks_page(ledger: Ledger, standings: Mapping[str, Sequence[Standing]]) -> list[Section]:
    """An index of the tasks that have results, and a page for each: what it asks, its params and metrics, its boards."""
    boards: dict[str, list[Standing]] = defaultdict(list)
    for ranked in (one for group in standings.values() for one in group):
        boards[ranked.board.task].append(ranked)
    metrics: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in ledger.query("SELECT task, metric, unit, direction, doc, is_primary, curve FROM metrics").to_pylist():
        metrics[row["task"]].append(row)
    rows = [
        row
        for row in ledger.query("SELECT task, family, version, label, doc, params_schema FROM tasks ORDER BY family, label").to_pylist()
        if row["task"] in boards
    ]
    if not rows:
        return []
    pages = tuple(_task(row, metrics[row["task"]], boards[row["task"]]) for row in rows)
    return [Section("Tasks", "tasks", (_tasks_index(rows, boards),), pages, "Catalogue", f"{len(pages)} tasks with results.")]


def _tasks_index(rows: Sequence[Mapping[str, Any]], boards: Mapping[str, Sequence[Standing]]) -> Table:
    heads = (
        Column("task", "task"),
        Column("family", "family"),
        Column("metric", "ranked by"),
        Column("boards", "boards", "right", doc="Sets of params of the task with results."),
        Column("methods", "methods", "right"),
        Column("doc", "what it asks", wrap=True),
    )
    cells = []
    for row in rows:
        mine = boards[row["task"]]
        methods = len({entry.method for ranked in mine for entry in ranked.board.entries})
        cells.append(
            Row(
                (
                    Cell(row["label"] or row["task"], row["task"], href=f"#{anchor('task', row['task'])}"),
                    Cell(row["family"], row["family"], tone="muted"),
                    Cell(f"{mine[0].metric.id} {mine[0].metric.arrow}".strip(), mine[0].metric.id, tone="muted"),
                    Cell(str(len(mine)), len(mine)),
                    Cell(str(methods), methods),
                    Cell(_sentence(row["doc"]), tone="muted"),
                )
            )
        )
    return Table("tasks-index", "Tasks", heads, tuple(cells))


def _task(row: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], boards: Sequence[Standing]) -> Section:
    heads = (
        Column("metric", "metric"),
        Column("unit", "unit"),
        Column("direction", "better"),
        Column("curve", "over"),
        Column("doc", "meaning", wrap=True),
    )
    rows = tuple(
        Row(
            (
                Cell(one["metric"], one["metric"], tone="best" if one["is_primary"] else "plain"),
                Cell(one["unit"] if one["unit"] != "1" else "", tone="muted"),
                Cell({"lower": "lower", "higher": "higher"}.get(one["direction"], ""), tone="muted"),
                Cell(one["curve"] or "", tone="muted"),
                Cell(one["doc"], tone="muted"),
            )
        )
        for one in sorted(metrics, key=lambda one: (not one["is_primary"], one["curve"] is not None, one["metric"]))
    )
    blocks: list[Block] = [
        Facts((("id", row["task"]), ("family", row["family"]), ("version", str(row["version"])))),
        first_places(boards, anchor("boards", row["task"]), "Boards"),
        *_params(row["task"], row["params_schema"]),
        Table(anchor("metrics", row["task"]), "Metrics", heads, rows),
    ]
    return Section(row["label"] or row["task"], anchor("task", row["task"]), tuple(blocks), summary=_paragraph(row["doc"]), page=True)
