"""The two isotonic fits of an inductive Venn-Abers predictor. Importing this module imports numba."""

from __future__ import annotations

import numba
import numpy as np

from kernels.calibration.isotonic import grouped, pool_adjacent_violators

# the cache of _bounds does not notice a change in isotonic.py: delete __pycache__ after one
_pool = numba.njit(cache=True)(pool_adjacent_violators)


def venn_abers_bounds(scores: np.ndarray, hits: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p0, p1), each [m]: the isotonic fit at each score of new [m] when it joins scores [n] with hits [n] as a 0, and as a 1."""
    knots, means, counts = grouped(scores, hits)
    values, inverse = np.unique(new, return_inverse=True)
    bounds = _bounds(knots, means, counts, values)
    return bounds[0][inverse], bounds[1][inverse]


@numba.njit(cache=True)
def _bounds(knots: np.ndarray, means: np.ndarray, counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[2, len(values)]: one isotonic fit per value and label, O(n) each."""
    fitted = np.empty((2, len(values)))
    n = len(knots)
    for index in range(len(values)):
        place = np.searchsorted(knots, values[index])
        shared = place < n and knots[place] == values[index]
        size = n if shared else n + 1
        targets, weights = np.empty(size), np.empty(size)
        targets[:place], weights[:place] = means[:place], counts[:place]
        targets[size - (n - place) :], weights[size - (n - place) :] = means[place:], counts[place:]
        for label in range(2):
            if shared:
                weights[place] = counts[place] + 1
                targets[place] = (means[place] * counts[place] + label) / weights[place]
            else:
                targets[place], weights[place] = label, 1.0
            fitted[label, index] = _pool(targets, weights)[place]
    return fitted
