"""Columns that say how large a difference from the baseline is, beside the test of it. They describe the seeds at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reports.columns import BoardColumn, baseline_entry
from reports.document import Cell
from reports.standings import Standing
from reports.stats.distributions import Floats
from reports.stats.effects import a12, cliffs_delta, probability_of_improvement, standardised_difference
from reports.stats.paired import differences

#: Key, title, statistic of the row's and the baseline's values (turned so that larger is better, common seeds), and what it means.
_EFFECTS: tuple[tuple[str, str, Callable[[Floats, Floats], float], str], ...] = (
    (
        "improvement",
        "P(better)",
        lambda a, b: probability_of_improvement(differences(a, b)),
        "Share of common seeds on which the row is better than the baseline, ties half (paired).",
    ),
    (
        "a12",
        "A12",
        a12,
        "Vargha-Delaney: chance that the row on a random seed is better than the baseline on another, ties half (unpaired).",
    ),
    ("cliff", "Cliff's δ", cliffs_delta, "Chance of better minus chance of worse, seeds drawn apart: 2 A12 - 1 (unpaired)."),
    (
        "dz",
        "d_z",
        lambda a, b: standardised_difference(differences(a, b)),
        "Mean paired difference over its standard deviation; positive where the row is better.",
    ),
)

EFFECTS_NOTE = (
    "P(better) and d_z compare seed by seed, A12 and Cliff's δ all seeds with all; they say how large the difference is on these seeds, "
    "not whether it is there: that is the test's answer."
)


def effect_columns(baseline: str) -> list[BoardColumn]:
    """Effect sizes of every row against the baseline: paired P(better) and d_z, unpaired A12 and Cliff's delta."""
    return [BoardColumn(key, title, _cells(baseline, of), "right", doc, spare=5) for key, title, of, doc in _EFFECTS]


def _cells(baseline: str, of: Callable[[Floats, Floats], float]) -> Callable[[Standing, Sequence[int]], list[Cell]]:
    def compute(standing: Standing, entries: Sequence[int]) -> list[Cell]:
        base = baseline_entry(standing, baseline)
        good = standing.matrix * (-1.0 if standing.lower_is_better else 1.0)
        cells = []
        for at in entries:
            common = ~np.isnan(good[at]) & ~np.isnan(good[base])
            if at == base or common.sum() < 2 or standing.metric.direction == "none":
                cells.append(Cell("–"))
                continue
            value = of(good[at][common], good[base][common])
            text = f"{value:.2f}" if abs(value) < 1e6 else "∞" if value > 0 else "−∞"
            cells.append(Cell(text.replace("-", "−"), value if abs(value) < float("inf") else None, tone="muted"))
        return cells

    return compute
