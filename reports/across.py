"""A family's methods over all its tasks: mean ranks with Friedman's test and Nemenyi's difference, Elo, performance profiles.

Tasks may be weighted: ranks, wins and Elo then count a task that often; Friedman's test and Nemenyi's difference take every task once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reports.anchors import anchor
from reports.boards import Board
from reports.document import Block, Cell, Column, Plot, Row, Section, Table
from reports.errors import BadQuestion
from reports.numbers import p_text, p_value
from reports.plots.build import MOST_LINES, Palette, apart, family_palette
from reports.plots.figure import Axis, Figure, Panel, Point, Series
from reports.standings import Standing
from reports.stats.distributions import Floats
from reports.stats.friedman import Ranking, critical_difference, friedman, nemenyi, rank_cliques
from reports.stats.intervals import bootstrap_interval
from reports.stats.paired import differences, mid_ranks
from reports.stats.profiles import performance_profile, performance_ratios
from reports.stats.ratings import elo

FEWEST_TASKS, FEWEST_METHODS, FEWEST_FOR_PROFILE = 2, 3, 4
MOST_NAMES = 40  #: in a diagram


#: Resamples of the seeds for the intervals, and the most methods for which the time to fit ratings again is spent.
DRAWS, MOST_RESAMPLED = 400, 60

#: Fewer (task, seed) pairs, or tasks, give no bootstrap interval of how often a method beats the next.
FEWEST_PAIRS, FEWEST_CLUSTERS = 10, 5


def across_tasks(standings: Sequence[Standing], family: str, weights: Mapping[str, float] | None = None) -> list[Section]:
    """One section, or none when too few methods have a result on every one of two or more tasks with the same primary metric.

    `weights`: by task id, name within the family, or label of the board; tasks that are not named weigh 1. Raises BadQuestion for an
    unknown task and for weights below zero.
    """
    usable = [
        (one, w)
        for one, w in zip(standings, _weights(standings, weights or {}), strict=True)
        if one.ranked and one.metric.direction != "none" and w > 0
    ]
    if len(usable) < FEWEST_TASKS or len({one.metric.id for one, _ in usable}) > 1:
        return []
    boards, weight = [one for one, _ in usable], np.array([w for _, w in usable])
    means = [{_key(one, at): float(one.table.mean[at]) for at in one.ranked} for one in boards]
    common = sorted(set.intersection(*(set(one) for one in means)))
    if len(common) < FEWEST_METHODS:
        return []
    values = np.array([[one[key] for key in common] for one in means])
    names = _names(boards, common)
    lower = boards[0].lower_is_better
    ranking = friedman(values, lower)
    mean_ranks, ratings, first = _scores(values, lower, weight)
    order = [int(at) for at in np.argsort(mean_ranks, kind="stable")]
    rank_ends, elo_ends = _intervals(boards, common, lower, weight)
    left_out = len(set().union(*means)) - len(common)
    weighted = bool((weight != weight[0]).any())
    to_best = nemenyi(ranking, order[0])
    beats = {at: _beats(boards, common, at, below, weighted) for at, below in zip(order, [*order[1:], None], strict=True)}
    heads = (
        Column("method", "method"),
        Column("rank", "mean rank", "right", doc=f"Over {len(boards)} tasks{', weighted' if weighted else ''}; ties share their rank."),
        Column("rank_interval", "95 % interval", "right", doc="Of the mean rank: bootstrap over the seeds within each task."),
        Column("elo", "Elo", "right", doc="Bradley-Terry strength from wins over tasks; 400 points are odds of ten to one."),
        Column("elo_interval", "95 % interval", "right", doc="Of Elo: bootstrap over the seeds within each task."),
        Column("first", "first", "right", doc="Tasks on which no other method has a better mean."),
        Column("nemenyi", "p to best", "right", doc="Nemenyi's test of the mean rank against the best one, all pairs together.", spare=4),
        Column(
            "next",
            "P(beats next)",
            "right",
            doc="Share of (task, seed) pairs on which it is better than the method of the next row, ties half; bootstrap over the seeds "
            "within each task.",
            spare=3,
        ),
        Column(
            "next_tasks", "of new tasks", "right", doc="Interval of the same when whole tasks are drawn (clustered bootstrap).", spare=5
        ),
    )
    rows = tuple(
        Row(
            (
                Cell(names[at], names[at]),
                Cell(f"{mean_ranks[at]:.2f}", float(mean_ranks[at]), *_ends(rank_ends, at)),
                Cell(_span(rank_ends, at, "{:.2f}")),
                Cell(f"{ratings[at]:.0f}", float(ratings[at]), *_ends(elo_ends, at)),
                Cell(_span(elo_ends, at, "{:.0f}")),
                Cell(f"{first[at]:g}", float(first[at]), tone="muted"),
                Cell("–", None) if weighted or at == order[0] else Cell(p_value(float(to_best[at])), float(to_best[at])),
                *beats[at],
            )
        )
        for at in order
    )
    cd = critical_difference(len(common), len(boards))
    blocks: list[Block] = [
        Table(anchor("across-table", family), "Across tasks", heads, rows, tuple(_notes(boards, weight, ranking, cd, left_out)))
    ]
    if len(common) <= MOST_NAMES and not weighted:
        blocks.append(Plot(anchor("plot-critical", family), _critical(ranking, names, cd)))
    if lower and (values > 0).all() and len(boards) >= FEWEST_FOR_PROFILE:
        blocks.append(Plot(anchor("plot-profile", family), _profile(values, names, order, boards[0].metric.id, family_palette(boards))))
    return [Section("Across tasks", anchor("across", family), tuple(blocks))]


def shared_out(weights: Mapping[str, float], boards: Mapping[str, Sequence[Board]]) -> dict[str, dict[str, float]]:
    """By family the weights that name tasks of it; raises BadQuestion for a name that no family knows."""
    _known(weights, [board for group in boards.values() for board in group])
    tried = {family: {name for board in group for name in _called(board)} for family, group in boards.items()}
    return {family: {name: value for name, value in weights.items() if name in names} for family, names in tried.items()}


def _called(board: Board) -> tuple[str, str, str]:
    """What a board may be called in weights."""
    return board.name, board.task, board.task.rpartition("/")[2]


def _known(weights: Mapping[str, float], boards: Sequence[Board]) -> None:
    for name in weights:
        if not any(name in _called(board) for board in boards):
            known = ", ".join(sorted({board.task.rpartition("/")[2] for board in boards}))
            raise BadQuestion(f"--weights names a task {name!r} that has no results here; tasks: {known or 'none'}.")


def _weights(standings: Sequence[Standing], given: Mapping[str, float]) -> list[float]:
    tried = [_called(one.board) for one in standings]
    _known(given, [one.board for one in standings])
    for name, value in given.items():
        if not (np.isfinite(value) and value >= 0):
            raise BadQuestion(f"--weights {name}={value:g}: a weight is a number from 0 upwards.")
    return [next((float(given[name]) for name in names if name in given), 1.0) for names in tried]


def _scores(values: Floats, lower: bool, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Weighted mean ranks, Elo and weight of the tasks won, per method, of a (tasks, methods) matrix of means."""
    signed = values if lower else -values
    ranks = np.array([mid_ranks(row) for row in signed])
    won = (signed == signed.min(axis=1, keepdims=True)).astype(np.float64)
    return np.average(ranks, axis=0, weights=weight), elo(values, lower, weight), weight @ won


def _intervals(boards: Sequence[Standing], common: Sequence[tuple[str, str]], lower: bool, weight: Floats) -> tuple[Floats, Floats]:
    """Percentile intervals of mean ranks and Elo, shape (2, methods): seeds are drawn anew within each task, the same for all methods.

    They speak about these tasks, not about new ones. NaN with too many methods or fewer than three seeds on any task.
    """
    none = np.full((2, len(common)), np.nan)
    matrices = []
    for one in boards:
        row = {_key(one, at): at for at in one.ranked}
        matrices.append(one.matrix[[row[key] for key in common]])
    if len(common) > MOST_RESAMPLED or min(int((~np.isnan(one)).any(axis=0).sum()) for one in matrices) < 3:
        return none, none
    rng = np.random.default_rng(0)
    ranks, ratings = np.empty((DRAWS, len(common))), np.empty((DRAWS, len(common)))
    for draw in range(DRAWS):
        means = []
        for matrix in matrices:
            sample = matrix[:, rng.integers(0, matrix.shape[1], matrix.shape[1])]
            seen = ~np.isnan(sample)
            total, count = np.where(seen, sample, 0.0).sum(axis=1), seen.sum(axis=1)
            means.append(np.where(count > 0, total / np.maximum(count, 1), np.nanmean(matrix, axis=1)))
        ranks[draw], ratings[draw], _ = _scores(np.array(means), lower, weight)
    ends = [0.025, 0.975]
    return np.quantile(ranks, ends, axis=0), np.quantile(ratings, ends, axis=0)


def _beats(boards: Sequence[Standing], common: Sequence[tuple[str, str]], at: int, below: int | None, weighted: bool) -> list[Cell]:
    """How often entry `at` of `common` is better than entry `below`: the share with its interval over the seeds of these tasks, and the
    interval for new tasks. Empty for the last entry, for weighted tasks, and with too many methods to resample for."""
    if below is None or weighted or len(common) > MOST_RESAMPLED:
        return [Cell("–"), Cell("–")]
    wins, tasks = [], []
    for number, one in enumerate(boards):
        row = {_key(one, entry): entry for entry in one.ranked}
        d = differences(one.matrix[row[common[below]]], one.matrix[row[common[at]]]) * (1.0 if one.lower_is_better else -1.0)
        d = d[~np.isnan(d)]
        wins += ((d > 0) + 0.5 * (d == 0)).tolist()
        tasks += [number] * len(d)
    if not wins:  # no seed in common
        return [Cell("–"), Cell("–")]
    values, board_of = np.array(wins), np.array(tasks, dtype=np.int64)
    names = [one.board.task for one in boards]
    task_of = np.array([names.index(one.board.task) for one in boards], dtype=np.float64)[board_of]
    here = bootstrap_interval(values, draws=DRAWS, method="percentile", strata=board_of.astype(np.float64))
    there = bootstrap_interval(values, draws=DRAWS, clusters=task_of)
    few = len(values) < FEWEST_PAIRS or here.low == here.high
    text = f"{here.value:.2f}" + ("" if few else f" [{here.low:.2f}, {here.high:.2f}]")
    new = len(set(names)) >= FEWEST_CLUSTERS and there.low < there.high
    return [
        Cell(text, here.value, None if few else here.low, None if few else here.high, note=here.method),
        Cell(f"[{there.low:.2f}, {there.high:.2f}]" if new else "–", there.high - there.low if new else None, note=there.method),
    ]


def _ends(found: Floats, at: int) -> tuple[float | None, float | None]:
    low, high = float(found[0, at]), float(found[1, at])
    return (None, None) if np.isnan(low) else (low, high)


def _span(found: Floats, at: int, text: str) -> str:
    return "–" if np.isnan(found[0, at]) else f"[{text.format(found[0, at])}, {text.format(found[1, at])}]"


def _notes(boards: Sequence[Standing], weight: Floats, ranking: Ranking, cd: float, left_out: int) -> list[str]:
    notes = [
        f"{ranking.test} over {len(boards)} tasks: {p_text(ranking.p)} that all methods rank alike. "
        f"Nemenyi's critical difference is {cd:.2f} ranks (5 %, all pairs)."
    ]
    if (kinds := len({one.board.task for one in boards})) < len(boards):
        notes.append(
            f"They are {len(boards)} sets of params of {kinds} task{'' if kinds == 1 else 's'}: results on one task go together, so the "
            "test and the critical difference are too sure of themselves."
        )
    if (weight != weight[0]).any():
        named = ", ".join(f"{one.board.name} {w:g}" for one, w in zip(boards, weight, strict=True))
        notes.append(f"Weights: {named}. Ranks, Elo and first places are weighted; the test and the critical difference are not.")
    seeds = min(int(one.table.n[one.ranked].min()) for one in boards)
    few = f"; with {seeds} seeds such intervals are too short, about 82 % instead of 95 % with five" if seeds < 10 else ""
    notes.append(
        f"Intervals: percentiles of {DRAWS} bootstrap draws of the seeds within each task; they speak about these tasks and say nothing "
        f"about new ones{few}."
    )
    if (weight == weight[0]).all():
        notes.append(
            f"P(beats next): intervals from {FEWEST_PAIRS} pairs on, none where all pairs agree; of new tasks: whole tasks drawn, from "
            f"{FEWEST_CLUSTERS} tasks on, too short with few."
        )
    if left_out:
        notes.append(f"{left_out} configurations without a result on every task are left out.")
    return notes


def _key(one: Standing, at: int) -> tuple[str, str]:
    entry = one.board.entries[at]
    return entry.method, entry.params


def _names(standings: Sequence[Standing], common: Sequence[tuple[str, str]]) -> list[str]:
    found = {_key(one, at): one.board.entries[at].name for one in standings for at in one.ranked}
    return [found[key] for key in common]


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
