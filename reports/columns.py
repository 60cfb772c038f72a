"""The columns of a leaderboard: small declared objects that third parties can add to with `add_column`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.document import Align, Cell, Tone
from reports.errors import BadQuestion
from reports.numbers import formatter
from reports.standings import Standing


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """`compute` gives one cell per entry asked for (indices into the board's entries).

    The column is left out unless the board has all metrics it `needs` and `when` holds. `title` may contain {metric} and {arrow}. `shown`:
    part of the default selection.
    """

    key: str
    title: str
    compute: Callable[[Standing, Sequence[int]], Sequence[Cell]]
    align: Align = "left"
    doc: str = ""
    needs: tuple[str, ...] = ()
    shown: bool = True
    when: Callable[[Standing], bool] = field(default=lambda standing: True)


def _method(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [
        Cell(
            entry.label,
            entry.label,
            tone="best" if at in standing.best else "plain",
            note=f"{entry.method} v{entry.version} {entry.params}",
        )
        for at in entries
        for entry in (standing.board.entries[at],)
    ]


def _params(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    chosen = (standing.board.entries[at] for at in entries)
    return [Cell(entry.short, entry.short, note=entry.params) for entry in chosen]


def _mean(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return metric_cells(standing, standing.metric.id, entries)


def metric_cells(standing: Standing, metric: str, entries: Sequence[int]) -> list[Cell]:
    """Mean of a metric per entry, with interval, cell id and SQL."""
    table = standing.table if metric == standing.metric.id else standing.secondary(metric)
    write = formatter(table.mean, (table.high - table.low) / 2)
    odd = standing.board.nonfinite[metric].sum(axis=1)
    cells = []
    for at in entries:
        mean, low, high = (float(x) if np.isfinite(x) else None for x in (table.mean[at], table.low[at], table.high[at]))
        where = standing.board.coordinates(at, metric)
        tone: Tone = (
            "best" if metric == standing.metric.id and at in standing.best else "plain" if metric == standing.metric.id else "muted"
        )
        text = write(mean) if mean is not None or not odd[at] else "not finite"
        cells.append(Cell(text, mean, low, high, tone=tone, id=where.short_id(), metric=metric))
    return cells


def _interval(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    table = standing.table
    write = formatter(table.mean, (table.high - table.low) / 2)
    cells = []
    for low, high in zip(table.low[list(entries)], table.high[list(entries)], strict=True):
        known = np.isfinite(low) and np.isfinite(high)
        cells.append(Cell(f"[{write(low)}, {write(high)}]", float(high - low)) if known else Cell("–", None))
    return cells


def _n(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [Cell(str(int(n)), int(n), tone="muted") for n in standing.table.n[list(entries)]]


def _group(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [
        Cell(letters, letters, tone="best" if at in standing.best else "plain") for at in entries for letters in (standing.letters[at],)
    ]


def _rank(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    low, high = standing.ranks
    cells = []
    for at in entries:
        a, b = low[at], high[at]
        text = "–" if a == 0 else str(a) if a == b else f"{a}–{b}"
        cells.append(Cell(text, (a + b) / 2 if a else None, a or None, b or None))
    return cells


def _failed(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [Cell(str(count) if count else "", count, tone="bad" if count else "plain") for count in (standing.failed[at] for at in entries)]


def _unfinished(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [
        Cell(str(count) if count else "", count, tone="warn" if count else "plain") for count in (standing.unfinished[at] for at in entries)
    ]


def _knowledge(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    return [Cell(", ".join(standing.board.entries[at].knowledge), tone="muted") for at in entries]


def _paper(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    papers = (standing.board.entries[at].paper for at in entries)
    return [Cell("" if paper is None else str(paper), paper, tone="muted") for paper in papers]


COLUMNS: dict[str, BoardColumn] = {
    column.key: column
    for column in (
        BoardColumn("rank", "rank", _rank, "right", "Interval that holds the method's true rank, simultaneously for all methods."),
        BoardColumn("method", "method", _method),
        BoardColumn(
            "params",
            "params",
            _params,
            doc="Only the params that differ between entries of the same method.",
            when=lambda standing: any(entry.short for entry in standing.board.entries),
        ),
        BoardColumn("mean", "{metric} {arrow}", _mean, "right", "Mean over seeds."),
        BoardColumn("interval", "95 % interval", _interval, "right", "Student's t interval of the mean over seeds."),
        BoardColumn("n", "n", _n, "right", "Seeds with a finite result."),
        BoardColumn(
            "group",
            "group",
            _group,
            doc="Methods that share a letter can't be told apart.",
            when=lambda standing: any(standing.letters),
        ),
        BoardColumn(
            "failed",
            "failed",
            _failed,
            "right",
            "Trials without a finite result that have no attempts left.",
            when=lambda standing: any(standing.failed),
        ),
        BoardColumn("unfinished", "open", _unfinished, "right", "Trials not finished yet.", when=lambda standing: any(standing.unfinished)),
        BoardColumn("knowledge", "told", _knowledge, doc="What the method is told beyond its inputs.", shown=False),
        BoardColumn("paper", "paper", _paper, "right", doc="Number in the list of papers (assay papers).", shown=False),
    )
}


def add_column(column: BoardColumn) -> None:
    """Make a column known; raises BadQuestion when its key is taken."""
    if column.key in COLUMNS:
        raise BadQuestion(f"A column {column.key!r} exists already; choose another key.")
    COLUMNS[column.key] = column


def select(keys: Sequence[str] | None = None) -> list[BoardColumn]:
    """The columns of those keys in that order, or the default ones; raises BadQuestion naming the valid keys."""
    if keys is None:
        return [column for column in COLUMNS.values() if column.shown]
    unknown = [key for key in keys if key not in COLUMNS]
    if unknown:
        raise BadQuestion(f"No column is called {unknown[0]!r}; columns: {', '.join(COLUMNS)}.")
    return [COLUMNS[key] for key in keys]
