"""Leaderboards as documents: one table per (task, version, params)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports.across import across_tasks
from reports.anchors import anchor
from reports.boards import Board, Metric
from reports.columns import COLUMNS, BoardColumn, beside, heavy, metric_cells, select, versus
from reports.document import Column, Document, Row, Section, Table
from reports.effect_columns import EFFECTS_NOTE, effect_columns
from reports.errors import BadQuestion
from reports.standings import POLICY_TEXT, Policy, Standing, standing
from reports.stats.caveats import few_pairs
from reports.stats.multiplicity import CORRECTION_TEXT, Correction
from reports.stats.paired import TEST_TEXT, PairedTest


def board_table(
    ranked: Standing,
    *,
    columns: Sequence[str] | None = None,
    all_metrics: bool = False,
    top: int | None = None,
    linked: bool = False,
    baseline: str = "",
    test: PairedTest = "t",
    correction: Correction = "holm",
    effects: bool = False,
) -> Table:
    """The leaderboard of one board. The family's metrics of `reports.columns.BESIDE` stand beside the one ranked by unless `columns` are
    named; `all_metrics` adds the other scalar metrics and the time of a trial; `top` keeps the first rows and counts the rest.
    `effects`: effect sizes against the baseline. `linked`: the document has a part per method (`reports.pages.methods_page`)."""
    board = ranked.board
    offered = [
        *select(columns, board.metrics),
        *([versus(baseline, test, correction)] if baseline else []),
        *(effect_columns(baseline) if baseline and effects else []),
    ]
    chosen = [column for column in offered if all(metric in board.values for metric in column.needs) and (columns or column.when(ranked))]
    heads = [_heading(column, ranked) for column in chosen]
    shown = ranked.order if top is None else ranked.order[:top]
    cells = [list(column.compute(ranked, shown)) for column in chosen]
    if linked and "method" in (keys := [column.key for column in chosen]):
        links = [f"#{anchor('method', board.entries[at].method)}" for at in shown]
        cells[keys.index("method")] = [replace(cell, href=href) for cell, href in zip(cells[keys.index("method")], links, strict=True)]
    near = [] if columns else beside(ranked)
    if near:
        at = max(number for number, column in enumerate(chosen) if column.key in ("mean", "interval")) + 1
        heads[at:at] = [_head(board.metrics[name], 4 if heavy(ranked) else 2) for name in near]
        cells[at:at] = [metric_cells(ranked, name, shown, spelled=True) for name in near]
    for metric in board.metrics.values():
        if all_metrics and metric.id not in (ranked.metric.id, *near):
            heads.append(_head(metric, 6))
            cells.append(metric_cells(ranked, metric.id, shown, spelled=True))
    if all_metrics and not columns and board.seconds.size:
        heads.append(_heading(COLUMNS["time"], ranked))
        cells.append(list(COLUMNS["time"].compute(ranked, shown)))
    rows = tuple(
        Row(tuple(column[number] for column in cells), board.trial_keys(at), board.coordinates(at).method_where())
        for number, at in enumerate(shown)
    )
    left_out = len(ranked.order) - len(shown)
    return Table(
        anchor(f"board-{board.anchor}", ranked.metric.id),
        board.name,
        tuple(heads),
        rows,
        tuple(_notes(ranked, [column.note for column in chosen if column.note]))
        + _caveat(ranked, baseline, test, correction)
        + ((EFFECTS_NOTE,) if baseline and effects else ())
        + ((f"{left_out} more methods are not shown (--top 0 shows all).",) if left_out else ()),
        range_column="mean",
        where=board.where(),
        options=ranked.cell(0).reading,
    )


def _heading(column: BoardColumn, ranked: Standing) -> Column:
    if column.measures:
        return _head(ranked.board.metrics[column.key], column.spare)
    title = column.title.format(metric=ranked.metric.id, arrow=ranked.metric.arrow, worst="max" if ranked.lower_is_better else "min")
    ranked_by = column.key == "mean"
    doc = f"{column.doc} {ranked.metric.doc}".strip() if ranked_by else column.doc
    return Column(column.key, title.strip(), column.align, ranked.metric.unit if ranked_by else "", doc, spare=column.spare)


def _head(metric: Metric, spare: int) -> Column:
    return Column(metric.id, f"{metric.id} {metric.arrow}".strip(), "right", metric.unit, metric.doc, spare=spare)


def _caveat(ranked: Standing, baseline: str, test: PairedTest, correction: Correction) -> tuple[str, ...]:
    """Which test was made against the baseline, and what it can't do with so few seeds."""
    if not baseline:
        return ()
    made = f"Against {baseline}: {TEST_TEXT[test]}, paired by seed; * is significant at 5 % ({CORRECTION_TEXT[correction]}, over the rows)."
    few = few_pairs(int(ranked.table.n[ranked.ranked].min())) if ranked.ranked and test != "t" else ""
    return (made, few) if few else (made,)


def _notes(ranked: Standing, of_columns: Sequence[str]) -> list[str]:
    notes = [" ".join([ranked.note(), *of_columns]), *filter(None, [ranked.nearest()]), *ranked.board.notes]
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
    test: PairedTest = "t",
    correction: Correction = "holm",
    effects: bool = False,
    weights: Mapping[str, float] | None = None,
) -> Document:
    """The leaderboards of a family, then the board across its tasks. Metrics may differ between boards; `metric` must exist on each.

    `weights`: of tasks, in the board across them (`reports.across`); None leaves that board out.
    """
    ranked = [standing(board, metric, policy, level) for board in boards]
    sections = tuple(
        Section(
            board.name,
            f"board-{board.anchor}",
            (
                board_table(
                    one,
                    columns=columns,
                    all_metrics=all_metrics,
                    top=top,
                    baseline=baseline,
                    test=test,
                    correction=correction,
                    effects=effects,
                ),
            ),
            summary=board.doc.strip().split("\n")[0],
        )
        for board, one in zip(boards, ranked, strict=True)
    )
    over = across_tasks(ranked, family, weights) if weights is not None else []
    if weights and not over:
        raise BadQuestion("--weights needs two or more tasks that share a primary metric, with three or more methods on all of them.")
    return Document(f"Leaderboard: {family}", (*sections, *over))
