"""Isotonic regression by pooling adjacent violators."""

from __future__ import annotations

import numpy as np


def pool_adjacent_violators(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The non-decreasing sequence nearest to `values` [n] in weighted least squares (weights [n] > 0), float64, in O(n).

    Written so that numba can compile it as it stands (`kernels.calibration.venn_abers` does).
    """
    n = len(values)
    means, totals, ends = np.empty(n), np.empty(n), np.empty(n, np.int64)
    blocks = 0
    for index in range(n):
        means[blocks], totals[blocks], ends[blocks] = values[index], weights[index], index + 1
        blocks += 1
        while blocks > 1 and means[blocks - 2] >= means[blocks - 1]:
            total = totals[blocks - 2] + totals[blocks - 1]
            means[blocks - 2] = (totals[blocks - 2] * means[blocks - 2] + totals[blocks - 1] * means[blocks - 1]) / total
            totals[blocks - 2], ends[blocks - 2] = total, ends[blocks - 1]
            blocks -= 1
    fitted = np.empty(n)
    start = 0
    for block in range(blocks):
        fitted[start : ends[block]] = means[block]
        start = ends[block]
    return fitted


def grouped(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores in increasing order, the mean target at each, and how many rows share it: equal scores must get equal values."""
    unique, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return unique, np.bincount(inverse, weights=targets, minlength=len(unique)) / counts, counts.astype(np.float64)


def isotonic_regression(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares non-decreasing fit of targets [n] on scores [n]: the distinct scores, increasing, and the fitted values there."""
    knots, means, counts = grouped(scores, targets)
    return knots, pool_adjacent_violators(means, counts)
