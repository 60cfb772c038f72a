"""The two isotonic fits of an inductive Venn-Abers predictor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from kernels.calibration.isotonic import grouped, pool_adjacent_violators


def venn_abers_bounds(scores: np.ndarray, hits: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p0, p1), each [m]: the isotonic fit at each score of new [m] when it joins scores [n] with hits [n] as a 0, and as a 1."""
    knots, means, counts = grouped(scores, hits)
    values, inverse = np.unique(new, return_inverse=True)
    bounds = _compiled()(knots, means, counts, values)
    return bounds[0][inverse], bounds[1][inverse]


@cache
def _compiled() -> Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    import numba  # half a second to import, and only this calibrator needs it

    pool = numba.njit(pool_adjacent_violators)

    @numba.njit
    def bounds(knots: np.ndarray, means: np.ndarray, counts: np.ndarray, values: np.ndarray) -> np.ndarray:
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
                fitted[label, index] = pool(targets, weights)[place]
        return fitted

    return bounds
