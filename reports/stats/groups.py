"""Which methods can't be told apart: pairwise paired tests with Holm's correction, letters, cliques and rank intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.stats.distributions import Floats, student_cdf
from reports.stats.multiplicity import holm
from reports.stats.paired import RELATIVE_ZERO

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairwise:
    """All pairs of rows of a (methods, seeds) matrix. Square arrays of shape (methods, methods), entry [i, j] about row i minus row j."""

    difference: Floats  #: mean paired difference
    n: Ints  #: common seeds
    p: Floats  #: two-sided paired t, raw; NaN below two common seeds
    adjusted: Floats  #: Holm over all pairs


def pairwise_t(matrix: Floats) -> Pairwise:
    """Paired t tests between all rows of a (methods, seeds) matrix; NaN entries are missing and drop the pair (task, seed)."""
    k = len(matrix)
    difference, p, n = np.zeros((k, k)), np.full((k, k), np.nan), np.zeros((k, k), dtype=np.int64)
    missing = np.isnan(matrix)
    for i in range(k - 1):
        d = matrix[i] - matrix[i + 1 :]
        scale = np.maximum(np.abs(matrix[i]), np.abs(matrix[i + 1 :]))
        with np.errstate(invalid="ignore"):
            d[np.abs(d) <= RELATIVE_ZERO * scale] = 0.0
        absent = missing[i] | missing[i + 1 :]
        d[absent] = 0.0
        count = (~absent).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = d.sum(axis=1) / count
            deviations = np.where(absent, 0.0, d - mean[:, None])
            error = np.sqrt((deviations**2).sum(axis=1) / (count - 1) / count)
            # np.inf and not a division: without spread over seeds a difference is certain, as far as seeds can tell.
            t = np.where(error <= RELATIVE_ZERO * np.abs(mean), np.where(mean == 0, 0.0, np.inf), np.abs(mean) / error)
        row = 2 * student_cdf(-t, np.maximum(count - 1, 1))
        row[count < 2] = np.nan
        difference[i, i + 1 :], difference[i + 1 :, i] = mean, -mean
        n[i, i + 1 :] = n[i + 1 :, i] = count
        p[i, i + 1 :] = p[i + 1 :, i] = row
    upper = np.triu_indices(k, 1)
    adjusted = np.full((k, k), np.nan)
    adjusted[upper] = holm(p[upper])
    adjusted.T[upper] = adjusted[upper]
    return Pairwise(difference, n, p, adjusted)


def cliques(different: Bools, order: Ints) -> list[list[int]]:
    """Maximal sets of methods no two of which are told apart, by insert-and-absorb (Piepho 2004); best first along `order`.

    `different[i, j]`: i and j are significantly different. Two methods share a clique exactly when they are not told apart.
    """
    k = len(order)
    columns: list[int] = [(1 << k) - 1]
    for a in range(k):
        for b in range(a + 1, k):
            if not different[order[a], order[b]]:
                continue
            both = (1 << a) | (1 << b)
            hit = [column for column in columns if column & both == both]
            if not hit:
                continue
            kept = [column for column in columns if column & both != both]
            for column in hit:
                for piece in (column & ~(1 << a), column & ~(1 << b)):
                    if not any(piece | other == other for other in kept):
                        kept = [other for other in kept if other | piece != piece]
                        kept.append(piece)
            columns = kept
    members = [[at for at in range(k) if column >> at & 1] for column in columns]
    members.sort()
    return [[int(order[at]) for at in group] for group in members]


def letters(groups: list[list[int]], k: int) -> list[str]:
    """Compact letter display: methods that share a letter can't be told apart. a, b, ..., z, aa, ab, ..."""
    out = [""] * k
    for index, group in enumerate(groups):
        for method in group:
            out[method] += ("" if not out[method] or index < 26 else " ") + _letter(index)
    return out


def _letter(index: int) -> str:
    text = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def rank_intervals(pairwise: Pairwise, lower_is_better: bool, level: float = 0.95) -> tuple[Ints, Ints]:
    """Simultaneous intervals for ranks: 1 + how many are significantly better, k - how many are significantly worse (Mogstad et al. 2024).

    With Holm's correction all intervals hold together at `level`.
    """
    with np.errstate(invalid="ignore"):
        significant = pairwise.adjusted < 1 - level
    sign = -1 if lower_is_better else 1
    wins = (significant & (sign * pairwise.difference > 0)).sum(axis=1)
    losses = (significant & (sign * pairwise.difference < 0)).sum(axis=1)
    return (1 + losses).astype(np.int64), (len(wins) - wins).astype(np.int64)
