"""Leaderboards as documents: one table per (task, version, params)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reports.anchors import anchor
from reports.boards import Board, Metric
from reports.columns import beside, metric_cells, select, versus
from reports.document import Column, Document, Row, Section, Table
from reports.standings import POLICY_TEXT, Policy, Standing, standing


def board_table(
    ranked: Standing,
    *,
    columns: Sequence[str] | None = None,
    all_metrics: bool = False,
    top: int | None = None,
    linked: bool = False,
    baseline: str = "",
) -> Table:
    """The leaderboard of one board. The family's metrics of `reports.columns.BESIDE` stand beside the one ranked by unless `columns` are
    named; `all_metrics` adds the other scalar metrics; `top` keeps the first rows and counts the rest.
    `linked`: the document has a part per method (`reports.pages.methods_page`)."""
    board = ranked.board
    offered = [*select(columns), *([versus(baseline)] if baseline else [])]
    chosen = [column for column in offered if all(metric in board.values for metric in column.needs) and (columns or column.when(ranked))]
    heads = [
        Column(
            column.key,
            column.title.format(metric=ranked.metric.id, arrow=ranked.metric.arrow).strip(),
            column.align,
            ranked.metric.unit if column.key == "mean" else "",
            f"{column.doc} {ranked.metric.doc}".strip() if column.key == "mean" else column.doc,
            spare=column.spare,
        )
        for column in chosen
    ]
    shown = ranked.order if top is None else ranked.order[:top]
    cells = [list(column.compute(ranked, shown)) for column in chosen]
    if linked and "method" in (keys := [column.key for column in chosen]):
        links = [f"#{anchor('method', board.entries[at].method)}" for at in shown]
        cells[keys.index("method")] = [replace(cell, href=href) for cell, href in zip(cells[keys.index("method")], links, strict=True)]
    near = [] if columns else beside(ranked)
    if near:
        at = max(number for number, column in enumerate(chosen) if column.key in ("mean", "interval")) + 1
        heads[at:at] = [_head(board.metrics[name], 2) for name in near]
        cells[at:at] = [metric_cells(ranked, name, shown) for name in near]
    for metric in board.metrics.values():
        if all_metrics and metric.id not in (ranked.metric.id, *near):
            heads.append(_head(metric, 6))
            cells.append(metric_cells(ranked, metric.id, shown))
    rows = tuple(
        Row(tuple(column[number] for column in cells), board.trial_keys(at), board.coordinates(at).method_where())
        for number, at in enumerate(shown)
    )
    left_out = len(ranked.order) - len(shown)
    return Table(
        f"board-{board.anchor}-{ranked.metric.id}",
        board.name,
        tuple(heads),
        rows,
        tuple(_notes(ranked)) + ((f"{left_out} more methods are not shown (--top 0 shows all).",) if left_out else ()),
        range_column="mean",
        where=board.coordinates().task_where(),
    )


def _head(metric: Metric, spare: int) -> Column:
    return Column(metric.id, f"{metric.id} {metric.arrow}".strip(), "right", metric.unit, metric.doc, spare=spare)


def _notes(ranked: Standing) -> list[str]:
    notes = [ranked.note(), *filter(None, [ranked.nearest()]), *ranked.board.notes]
    if any(ranked.failed) or any(ranked.unfinished):
        notes.append(f"Missing results, policy {ranked.policy!r}: {POLICY_TEXT[ranked.policy]}.")
        notes += ranked.flips()
    return notes


def leaderboard(
    family: str,
    boards: Sequence[Board],
    *,
    metric: str | None = None,
    policy: Policy = "drop",
    columns: Sequence[str] | None = None,
    all_metrics: bool = False,
    top: int | None = None,
    level: float = 0.95,
    baseline: str = "",
) -> Document:
    """The leaderboards of a family. Metrics of several boards may differ; `metric` must exist on each board."""
    sections = tuple(
        Section(
            board.name,
            f"board-{board.anchor}",
            (board_table(standing(board, metric, policy, level), columns=columns, all_metrics=all_metrics, top=top, baseline=baseline),),
            summary=board.doc.strip().split("\n")[0],
        )
        for board in boards
    )
    return Document(f"Leaderboard: {family}", sections)
