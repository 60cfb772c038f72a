"""Cells of leaderboard columns that look beyond the mean: median, worst seed, spread, interquartile mean, front over several metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reports.document import Cell
from reports.numbers import formatter
from reports.standings import Standing
from reports.stats.distributions import Floats
from reports.stats.intervals import median_interval
from reports.stats.pareto import hypervolume, pareto_front
from reports.stats.profiles import iqm_interval

Cells = Callable[[Standing, Sequence[int]], Sequence[Cell]]


def median_cells(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    """Median over seeds with the order-statistic interval, which exists from six seeds on."""
    found = {at: median_interval(standing.matrix[at], standing.level) for at in entries}
    write = formatter([one.value for one in found.values()], _halves(standing))
    cells = []
    for at, one in found.items():
        low, high = (None if np.isnan(end) else end for end in (one.low, one.high))
        text = write(None if np.isnan(one.value) else one.value)
        cells.append(_cell(standing, at, text, one.value, low, high, f"{one.method}: [{write(one.low)}, {write(one.high)}]"))
    return cells


def statistic_cells(of: Callable[[Floats], float], note: str = "") -> Cells:
    """A column of `of` over each entry's values (one dimension, no NaN); without interval, which its `doc` should say."""

    def compute(standing: Standing, entries: Sequence[int]) -> list[Cell]:
        rows = (standing.matrix[at] for at in entries)
        values = [of(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan for row in rows]
        write = formatter(values, _halves(standing))
        return [_cell(standing, at, write(value), value, None, None, note) for at, value in zip(entries, values, strict=True)]

    return compute


def worst_cells(standing: Standing, entries: Sequence[int]) -> Sequence[Cell]:
    """The value of the worst seed: the largest where lower is better, else the smallest."""
    return statistic_cells(np.max if standing.lower_is_better else np.min, "the worst seed; a single value has no interval")(
        standing, entries
    )


def iqm_cells(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    """Interquartile mean with its bootstrap interval, which exists from ten seeds on."""
    found = [iqm_interval(standing.matrix[at], standing.level) for at in entries]
    write = formatter([one.value for one in found], _halves(standing))
    cells = []
    for at, one in zip(entries, found, strict=True):
        known = not np.isnan(one.low)
        text = write(one.value) + (f" [{write(one.low)}, {write(one.high)}]" if known else "")
        cells.append(_cell(standing, at, text, one.value, one.low if known else None, one.high if known else None, one.method))
    return cells


sd_cells = statistic_cells(lambda row: float(row.std(ddof=1)) if len(row) > 1 else float("nan"))


def hypervolume_cells(standing: Standing, entries: Sequence[int], metrics: Sequence[str]) -> list[Cell]:
    """Area dominated by the means of all configurations of the entry's method, over two metrics, as a share of that of all entries."""
    board = standing.board
    if len(metrics) != 2:
        return [Cell("–") for _ in entries]
    signs = [-1.0 if board.metrics[name].direction == "higher" else 1.0 for name in metrics]
    means = np.stack([sign * standing.secondary(name).mean for name, sign in zip(metrics, signs, strict=True)], axis=1)
    reference = np.nanmax(means, axis=0) if np.isfinite(means).any() else np.zeros(2)
    whole = hypervolume(means, reference)
    areas = {
        label: hypervolume(means[[at for at, entry in enumerate(board.entries) if entry.label == label]], reference)
        for label in {board.entries[at].label for at in entries}
    }
    shares = [areas[board.entries[at].label] / whole if whole > 0 else float("nan") for at in entries]
    note = f"of {' and '.join(metrics)}"
    return [Cell("–" if np.isnan(share) else f"{share:.1%}", None if np.isnan(share) else share, note=note) for share in shares]


def time_cells(standing: Standing, entries: Sequence[int]) -> list[Cell]:
    """Mean wall time of a trial that has a result, in seconds."""
    board = standing.board
    values = []
    for at in entries:
        known = board.seconds[at] if board.seconds.size else np.empty(0)
        known = known[~np.isnan(known) & (board.states[at] == "done")] if len(known) else known
        values.append(float(known.mean()) if len(known) else None)
    return [Cell("–" if value is None else f"{value:.3g}", value, tone="muted") for value in values]


def front_cells(standing: Standing, entries: Sequence[int], metrics: Sequence[str]) -> list[Cell]:
    """A mark at entries that no other beats in the means of all `metrics` (those with a direction)."""
    board = standing.board
    chosen = [name for name in metrics if board.metrics[name].direction != "none"]
    means = np.stack([standing.secondary(name).mean * (-1 if board.metrics[name].direction == "higher" else 1) for name in chosen], axis=1)
    front = set(pareto_front(means))
    return [Cell("◆" if at in front else "", int(at in front), note=f"front of the means of {', '.join(chosen)}") for at in entries]


def _halves(standing: Standing) -> Floats:
    return (standing.table.high - standing.table.low) / 2


def _cell(standing: Standing, at: int, text: str, value: float, low: float | None, high: float | None, note: str) -> Cell:
    known = None if np.isnan(value) else float(value)
    ident = standing.cell(at).short_id() if known is not None else ""
    return Cell(text, known, low, high, tone="muted", id=ident, metric=standing.metric.id, note=note)
