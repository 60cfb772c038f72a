"""Effect sizes: how much, not only whether."""

from __future__ import annotations

import numpy as np

from reports.stats.distributions import Floats


def a12(a: Floats, b: Floats) -> float:
    """Vargha-Delaney A: the chance that a random value of `a` exceeds one of `b`, ties half. .5 means no difference."""
    a, b = np.asarray(a, dtype=np.float64), np.sort(np.asarray(b, dtype=np.float64))
    below, at_most = np.searchsorted(b, a, side="left"), np.searchsorted(b, a, side="right")
    return float((below + at_most).sum() / (2 * len(a) * len(b)))


def cliffs_delta(a: Floats, b: Floats) -> float:
    """P(a > b) - P(a < b), from -1 to 1; equals 2 A12 - 1."""
    return 2 * a12(a, b) - 1


def probability_of_improvement(d: Floats) -> float:
    """Share of paired differences above zero, ties half."""
    d = np.asarray(d, dtype=np.float64)
    return float(((d > 0).sum() + 0.5 * (d == 0).sum()) / len(d))


def standardised_difference(d: Floats) -> float:
    """Mean of the paired differences over their standard deviation (Cohen's d_z); infinite without spread."""
    d = np.asarray(d, dtype=np.float64)
    mean, sd = float(d.mean()), float(d.std(ddof=1)) if len(d) > 1 else float("nan")
    if sd == 0:
        return 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    return mean / sd
