"""Aggregates over tasks that outliers don't own: interquartile mean, performance profiles (Dolan and Moré 2002)."""

from __future__ import annotations

import numpy as np

from reports.stats.distributions import Floats


def iqm(values: Floats) -> float:
    """Mean of the middle half of all values (NaN dropped); a quarter of the weight is cut from each end, fractions of a value included."""
    x = np.sort(np.asarray(values, dtype=np.float64).ravel())
    x = x[~np.isnan(x)]
    n = len(x)
    if n == 0:
        return float("nan")
    edges = np.arange(n + 1.0)
    weight = np.clip(np.minimum(edges[1:], 0.75 * n) - np.maximum(edges[:-1], 0.25 * n), 0, None)
    return float((x * weight).sum() / weight.sum())


def performance_ratios(values: Floats) -> Floats:
    """Each positive cost of a (tasks, methods) matrix over the task's best; NaN (no result) becomes infinite."""
    values = np.asarray(values, dtype=np.float64)
    best = np.nanmin(values, axis=1, keepdims=True)
    return np.where(np.isnan(values), np.inf, values / best)


def performance_profile(ratios: Floats, at: Floats) -> Floats:
    """Share of tasks on which each method is within a factor `at` of the best; shape (methods, len(at))."""
    return np.asarray((ratios[:, :, None] <= np.asarray(at) * (1 + 1e-12)).mean(axis=0), dtype=np.float64)
