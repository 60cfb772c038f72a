"""Group-sequential comparison: look at the data several times, add seeds only where it pays, keep the error rate.

The rule: looks at fixed numbers of seeds; at look k every pair of methods gets a paired t test at level alpha_k / pairs, where the alpha_k
come from the Lan-DeMets spending function of Pocock type (Lan & DeMets 1983) and add up to alpha. A pair is decided at its first
significant look. By the union bound over looks and pairs, the chance that any pair of equal methods is ever called different is at most
alpha, whatever the correlation between looks and between pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reports.stats.distributions import Floats
from reports.stats.groups import Bools, pairwise_t

#: Each look has about this many times the seeds of the one before: fewer looks spend less alpha on looking.
GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Look:
    """Look at the first `seeds` seeds with level `alpha` for the whole board."""

    seeds: int
    alpha: float


def spent(fraction: float, alpha: float) -> float:
    """Alpha spent when this fraction of the seeds is in: alpha ln(1 + (e - 1) fraction)."""
    return alpha * math.log(1 + (math.e - 1) * min(max(fraction, 0.0), 1.0))


def looks(first: int, last: int, alpha: float = 0.05) -> list[Look]:
    """The looks from `first` to `last` seeds; their levels add up to `alpha`. Needs 2 <= first <= last."""
    if not 2 <= first <= last:
        raise ValueError(f"looks need 2 <= first <= last, not {first} and {last}")
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(math.ceil(sizes[-1] * GROWTH), last))
    levels = np.diff([0.0, *(spent(size / last, alpha) for size in sizes)])
    return [Look(size, float(level)) for size, level in zip(sizes, levels, strict=True)]


def decided(values: Floats, schedule: list[Look]) -> Bools:
    """Which pairs of rows of `values` (methods, seeds in order; NaN missing) have been decided, [methods, methods], symmetric.

    Looks for which seeds are missing altogether are in the future. A method that has fewer seeds than the look takes no part in it.
    """
    methods = len(values)
    pairs = max(methods * (methods - 1) // 2, 1)
    result = np.zeros((methods, methods), dtype=bool)
    for look in schedule:
        if values.shape[1] < look.seeds:
            break
        here = values[:, : look.seeds]
        complete: Bools = np.asarray(~np.isnan(here).any(axis=1), dtype=np.bool_)
        p = pairwise_t(here).p * pairs
        with np.errstate(invalid="ignore"):
            result |= (p < look.alpha) & np.outer(complete, complete)
    return result
