"""What the tests and intervals can't do with the data at hand, in words that stand beside the numbers."""

from __future__ import annotations

import numpy as np

from reports.stats.distributions import Floats
from reports.stats.intervals import FREE, Bounds

#: Share of the largest skewness that n values can show at all; an exponential distribution reaches a quarter of it, Gamma(4) a seventh.
SKEWED = 0.15


#: Smallest and largest share of true nulls, in per cent, that paired t tests reject at 5 % with so few seeds: of two lognormal methods, and
#: of a Gamma(4) against a normal one (tests/reports/stats/test_stats_coverage.py). From nine seeds on both lie within 3 and 7 %.
FEW_T = {2: (3.4, 5.2), 3: (2.6, 5.6), 4: (2.4, 5.6), 5: (2.5, 5.7), 6: (2.7, 5.7), 7: (2.8, 5.6), 8: (3.0, 5.7)}


def few_t(n: int) -> str:
    """What paired t tests and intervals are worth with n pairs; empty from nine on."""
    if n not in FEW_T:
        return ""
    low, high = FEW_T[n]
    return (
        f"With {n} seeds t tests find only large effects; at 5 % they reject {low:g} to {high:g} % of true nulls in simulations, "
        "depending on how the values are skewed."
    )


def few_pairs(n: int) -> str:
    """What sign flips and Wilcoxon's test can reach with n pairs; empty when n leaves them room."""
    if not 2 <= n <= 6:
        return ""
    least = 0.5**n
    text = f"With {n} seeds sign flips (permutation) and Wilcoxon's test give no less than p = {2 * least:.4g}, one-sided {least:.4g}"
    if least > 0.05:
        return f"{text}: nothing at 5 %."
    return f"{text}{': two-sided, nothing at 5 %.' if 2 * least > 0.05 else '.'}"


def skewed(matrix: Floats) -> bool:
    """Whether the rows of a (methods, seeds) matrix are skewed alike, beyond what symmetric values show by chance."""
    n = (~np.isnan(matrix)).sum(axis=1)
    rows = matrix[n == n.max(initial=0)] if len(matrix) else matrix
    size = int(n.max(initial=0))
    if size < 4:
        return False
    rows = rows[~np.isnan(rows)].reshape(len(rows), size)
    sd = rows.std(axis=1, ddof=1)
    rows = rows[sd > 1e-12 * np.abs(rows).max(axis=1, initial=0.0)]
    if not len(rows):
        return False
    z = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, ddof=1, keepdims=True)
    third = float((z**3).mean())
    most = (size - 2) / np.sqrt(size - 1)
    return bool(abs(third) > SKEWED * most and abs(third) * np.sqrt(len(rows)) > 3 * 0.5)


def skew_note(matrix: Floats, bounds: Bounds = FREE) -> str:
    """A sentence on the coverage of the mean's intervals when the values are skewed; empty otherwise.

    The figures are those of exponential values and 5 to 30 seeds, plain and on the log or logit scale
    (tests/reports/stats/test_stats_coverage.py).
    """
    if not skewed(matrix):
        return ""
    covers = "88 to 93 %" if bounds == FREE else "93 to 94 %"
    return (
        f"The values are skewed over seeds: with 5 to 30 seeds and skewness 2, such 95 % intervals of a mean cover {covers} in simulations."
    )
