"""Many methods over many tasks by ranks: Friedman's test, Nemenyi's critical difference, cliques (Demšar 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from reports.stats.distributions import Floats, chi2_sf, f_sf, normal_cdf
from reports.stats.paired import mid_ranks


@dataclass(frozen=True, slots=True)
class Ranking:
    """`mean_ranks` per method (1 is best). `p` is of the hypothesis that all methods rank alike (Iman and Davenport's F)."""

    mean_ranks: Floats
    tasks: int
    chi2: float
    chi2_p: float
    p: float
    test: str


def friedman(values: Floats, lower_is_better: bool = True) -> Ranking:
    """Ranks of a complete (tasks, methods) matrix, ties shared; needs two or more tasks and methods."""
    values = np.asarray(values, dtype=np.float64)
    n, k = values.shape
    ranks = np.array([mid_ranks(row if lower_is_better else -row) for row in values])
    means = ranks.mean(axis=0)
    if n < 2 or k < 2:
        return Ranking(means, n, float("nan"), float("nan"), float("nan"), "Friedman needs two tasks and two methods")
    # Ties shrink the spread that random ranks would have.
    spread = float(((ranks - (k + 1) / 2) ** 2).sum()) / (n * (k - 1))
    chi2 = n * float(((means - (k + 1) / 2) ** 2).sum()) / spread if spread > 0 else 0.0
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-9 else float("inf")
    # F reaches infinity when all tasks agree; under the null that still happens once in k! to the power n - 1.
    agreement = math.exp(-(n - 1) * math.lgamma(k + 1))
    p = max(agreement, 0.0 if np.isinf(f) else float(f_sf(f, k - 1, (k - 1) * (n - 1))))
    return Ranking(means, n, chi2, float(chi2_sf(chi2, k - 1)), p, "Friedman, Iman-Davenport F")


def critical_difference(methods: int, tasks: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks: two methods further apart differ at `alpha`, all pairs together."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(range_sf(np.array(middle), methods)) > alpha else (low, middle)
    return high / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * tasks))


def nemenyi(ranking: Ranking, against: int | None = None) -> Floats:
    """p-values of all pairs of methods, square; of one method's pairs only where it is given. Corrected for all pairs either way."""
    ranks = ranking.mean_ranks
    k = len(ranks)
    gaps = np.abs((ranks[:, None] if against is None else ranks[against]) - ranks)
    return range_sf(gaps / np.sqrt(k * (k + 1) / (6 * ranking.tasks)) * np.sqrt(2), k)


@cache
def _nodes() -> tuple[Floats, Floats]:
    node, weight = np.polynomial.legendre.leggauss(200)
    return node, weight


def range_sf(q: Floats, k: int) -> Floats:
    """P(range of k standard normals > q), elementwise: the studentized range with infinite degrees of freedom.

    Integrates k phi(z) (Phi(z) - Phi(z - q))^(k-1) over z; scipy.stats has it too but takes a second to import.
    """
    node, weight = _nodes()
    z = 9.0 * node
    density = 9.0 * weight * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    inside = normal_cdf(z) - normal_cdf(z - np.asarray(q, dtype=np.float64)[..., None])
    return np.asarray(np.clip(1 - k * (density * inside ** (k - 1)).sum(axis=-1), 0.0, 1.0), dtype=np.float64)


def rank_cliques(mean_ranks: Floats, difference: float) -> list[list[int]]:
    """Maximal runs of methods (two or more, best first) whose mean ranks lie within the critical difference."""
    order = np.argsort(mean_ranks, kind="stable")
    runs: list[list[int]] = []
    reached = 0
    for start in range(len(order)):
        end = start
        while end + 1 < len(order) and mean_ranks[order[end + 1]] - mean_ranks[order[start]] <= difference:
            end += 1
        if end > start and end > reached:
            runs.append([int(at) for at in order[start : end + 1]])
            reached = end
    return runs
