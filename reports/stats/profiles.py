"""Aggregates over tasks that outliers don't own: interquartile mean, performance profiles (Dolan and Moré 2002)."""

from __future__ import annotations

import math

import numpy as np

from reports.stats.distributions import Floats
from reports.stats.intervals import Estimate, bootstrap_interval


def iqm(values: Floats) -> float:
    """Mean of the middle half of all values (NaN dropped); a quarter of the weight is cut from each end, fractions of a value included."""
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[~np.isnan(x)]
    return float(iqm_rows(x)) if len(x) else float("nan")


def iqm_rows(values: Floats) -> Floats:
    """`iqm` along the last axis of an array without NaN."""
    n = values.shape[-1]
    edges = np.arange(n + 1.0)
    weight = np.clip(np.minimum(edges[1:], 0.75 * n) - np.maximum(edges[:-1], 0.25 * n), 0, None)
    return np.asarray(np.sort(values, axis=-1) @ (weight / weight.sum()), dtype=np.float64)


#: Fewer values give no bootstrap interval of the IQM: with five it covers 89 % instead of 95 %, from ten on 92 % and more
#: (tests/reports/stats/test_stats_coverage.py).
FEWEST_FOR_IQM = 10


def iqm_interval(values: Floats, level: float = 0.95) -> Estimate:
    """IQM with its percentile bootstrap interval; NaN entries are dropped, NaN ends below `FEWEST_FOR_IQM` values."""
    x = np.asarray(values, dtype=np.float64)
    x = x[~np.isnan(x)]
    if len(x) < FEWEST_FOR_IQM:
        return Estimate(iqm(x), math.nan, math.nan, len(x), level, f"IQM, no interval below {FEWEST_FOR_IQM} values")
    return bootstrap_interval(x, iqm_rows, level=level, draws=1999, method="percentile")


def performance_ratios(values: Floats) -> Floats:
    """Each positive cost of a (tasks, methods) matrix over the task's best; NaN (no result) becomes infinite."""
    values = np.asarray(values, dtype=np.float64)
    best = np.nanmin(values, axis=1, keepdims=True)
    return np.where(np.isnan(values), np.inf, values / best)


def performance_profile(ratios: Floats, at: Floats) -> Floats:
    """Share of tasks on which each method is within a factor `at` of the best; shape (methods, len(at))."""
    return np.asarray((ratios[:, :, None] <= np.asarray(at) * (1 + 1e-12)).mean(axis=0), dtype=np.float64)
