"""Fronts of undominated points, and the volume they dominate."""

from __future__ import annotations

import numpy as np

from reports.stats.distributions import Floats


def pareto_front(points: Floats) -> list[int]:
    """Indices of the rows of `points` (rows, objectives; smaller is better in each) that no other row dominates, in order of the first
    objective. Of equal rows the first is kept. Rows with NaN never belong."""
    usable = np.flatnonzero(~np.isnan(points).any(axis=1))
    front: list[int] = []
    for at in usable[np.lexsort(points[usable].T[::-1])]:
        if not any((points[other] <= points[at]).all() for other in front):
            front.append(int(at))
    return front


def hypervolume(points: Floats, reference: Floats) -> float:
    """Area dominated by two-objective points (smaller is better) up to `reference`; points beyond it add nothing."""
    inside = points[(points < reference).all(axis=1)]
    area, ceiling = 0.0, float(reference[1])
    for at in pareto_front(inside):
        x, y = inside[at]
        area += float((reference[0] - x) * (ceiling - y))
        ceiling = float(y)
    return area
