"""A family's methods over all its tasks: mean ranks with Friedman's test and Nemenyi's difference, Elo, performance profiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.anchors import anchor
from reports.document import Block, Cell, Column, Plot, Row, Section, Table
from reports.numbers import p_text
from reports.plots.build import MOST_LINES, Palette, apart, family_palette
from reports.plots.figure import Axis, Figure, Panel, Point, Series
from reports.standings import Standing
from reports.stats.distributions import Floats
from reports.stats.friedman import Ranking, critical_difference, friedman, rank_cliques
from reports.stats.profiles import performance_profile, performance_ratios
from reports.stats.ratings import elo

FEWEST_TASKS, FEWEST_METHODS, FEWEST_FOR_PROFILE = 2, 3, 4
MOST_NAMES = 40  #: in a diagram


def across_tasks(standings: Sequence[Standing], family: str) -> list[Section]:
    """One section, or none when too few methods have a result on every one of two or more tasks with the same primary metric."""
    usable = [one for one in standings if one.ranked and one.metric.direction != "none"]
    if len(usable) < FEWEST_TASKS or len({one.metric.id for one in usable}) > 1:
        return []
    means = [{_key(one, at): float(one.table.mean[at]) for at in one.ranked} for one in usable]
    common = sorted(set.intersection(*(set(one) for one in means)))
    if len(common) < FEWEST_METHODS:
        return []
    values = np.array([[one[key] for key in common] for one in means])
    names = _names(usable, common)
    lower = usable[0].lower_is_better
    ranking = friedman(values, lower)
    ratings = elo(values, lower)
    order = [int(at) for at in np.argsort(ranking.mean_ranks, kind="stable")]
    left_out = len(set().union(*means)) - len(common)
    heads = (
        Column("method", "method"),
        Column("rank", "mean rank", "right", doc=f"Over {len(usable)} tasks; ties share their rank."),
        Column("elo", "Elo", "right", doc="Bradley-Terry strength from wins over tasks; 400 points are odds of ten to one."),
        Column("first", "first", "right", doc="Tasks on which no other method has a better mean."),
    )
    best = (ranking_rows := np.array([_ranks(row, lower) for row in values])) == ranking_rows.min(axis=1, keepdims=True)
    rows = tuple(
        Row(
            (
                Cell(names[at], names[at]),
                Cell(f"{ranking.mean_ranks[at]:.2f}", float(ranking.mean_ranks[at])),
                Cell(f"{ratings[at]:.0f}", float(ratings[at])),
                Cell(str(int(best[:, at].sum())), int(best[:, at].sum()), tone="muted"),
            )
        )
        for at in order
    )
    cd = critical_difference(len(common), len(usable))
    notes = [
        f"{ranking.test} over {len(usable)} tasks: {p_text(ranking.p)} that all methods rank alike. "
        f"Nemenyi's critical difference is {cd:.2f} ranks (5 %, all pairs)."
    ]
    if left_out:
        notes.append(f"{left_out} configurations without a result on every task are left out.")
    blocks: list[Block] = [Table(anchor("across-table", family), "Across tasks", heads, rows, tuple(notes))]
    if len(common) <= MOST_NAMES:
        blocks.append(Plot(anchor("plot-critical", family), _critical(ranking, names, cd)))
    if lower and (values > 0).all() and len(usable) >= FEWEST_FOR_PROFILE:
        blocks.append(Plot(anchor("plot-profile", family), _profile(values, names, order, usable[0].metric.id, family_palette(usable))))
    return [Section("Across tasks", anchor("across", family), tuple(blocks))]


def _key(one: Standing, at: int) -> tuple[str, str]:
    entry = one.board.entries[at]
    return entry.method, entry.params


def _names(standings: Sequence[Standing], common: Sequence[tuple[str, str]]) -> list[str]:
    found = {_key(one, at): one.board.entries[at].name for one in standings for at in one.ranked}
    return [found[key] for key in common]


def _ranks(row: Floats, lower: bool) -> Floats:
    return row if lower else -row


def _critical(ranking: Ranking, names: Sequence[str], cd: float) -> Figure:
    points = tuple(Point(float(rank), 0.0, label=name) for name, rank in zip(names, ranking.mean_ranks, strict=True))
    groups = rank_cliques(ranking.mean_ranks, cd)
    cliques = tuple(Series("clique", tuple(points[at] for at in group), "step", -1) for group in groups)
    best = names[int(np.argmin(ranking.mean_ranks))]
    return Figure(
        "Critical differences",
        f"Mean ranks of {len(names)} methods over {ranking.tasks} tasks; best {best}. {len(groups)} groups can't be told apart.",
        Axis("mean rank (1 is best)", low=1.0, high=float(max(2, len(names)))),
        Axis("", low=0.0, high=1.0),
        (Panel("", (Series("methods", points, "scatter", 0), *cliques)),),
        f"Bars join methods whose mean ranks differ by less than Nemenyi's critical difference, {cd:.2f}.",
        critical=True,
    )


def _profile(values: Floats, names: Sequence[str], order: Sequence[int], metric: str, palette: Palette) -> Figure:
    ratios = performance_ratios(values)
    at = np.unique(np.concatenate([[1.0], ratios[np.isfinite(ratios)]]))
    shares = performance_profile(ratios, at)
    series = []
    shown = order[:MOST_LINES]
    for method, color in zip(shown, apart([palette[names[method]] for method in shown]), strict=True):
        points: list[Point] = []
        for x, share in zip(at, shares[method], strict=True):
            if points and points[-1].y != share:
                points.append(Point(float(x), points[-1].y))
            points.append(Point(float(x), float(share)))
        series.append(Series(names[method], tuple(points), "line", color))
    return Figure(
        "Performance profiles",
        f"Share of tasks on which each method's {metric} is within a factor of the best, for {len(series)} methods.",
        Axis(f"factor of the task's best {metric}", scale="log"),
        Axis("share of tasks", low=0.0, high=1.0),
        (Panel("", tuple(series)),),
        "Higher is better: at a factor of 1 the share of tasks won, far right the share solved at all.",
    )
