"""Which methods can't be told apart: pairwise paired tests with Holm's correction, letters, cliques and rank intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.stats.distributions import Floats, student_cdf, student_quantile
from reports.stats.multiplicity import holm
from reports.stats.paired import RELATIVE_ZERO, unpaired_error

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

#: Pairs tested at once: their values stay in the processor's cache.
CHUNK = 8192

#: Boards show letters for 26 groups at most; so many are far beyond that, and are found in a tenth of a second.
MOST_CLIQUES = 500


@dataclass(frozen=True, slots=True)
class Pairwise:
    """All pairs of rows of a (methods, seeds) matrix. Square arrays of shape (methods, methods), entry [i, j] about row i minus row j."""

    difference: Floats  #: mean paired difference
    n: Ints  #: common seeds
    p: Floats  #: two-sided paired t (`reports.stats.paired.between`), raw; NaN below two common seeds
    adjusted: Floats  #: Holm over all pairs


def pairwise_t(matrix: Floats) -> Pairwise:
    """Paired t tests between all rows of a (methods, seeds) matrix; NaN entries are missing and drop the pair (task, seed)."""
    k = len(matrix)
    upper = np.triu_indices(k, 1)
    difference, p, n = np.zeros((k, k)), np.full((k, k), np.nan), np.zeros((k, k), dtype=np.int64)
    adjusted = np.full((k, k), np.nan)
    found = [_tests(matrix[upper[0][at : at + CHUNK]], matrix[upper[1][at : at + CHUNK]]) for at in range(0, len(upper[0]), CHUNK)]
    if found:
        difference[upper], p[upper] = (np.concatenate([one[which] for one in found]) for which in (0, 1))
        n[upper] = np.concatenate([one[2] for one in found])
        adjusted[upper] = holm(p[upper])
        difference.T[upper] = -difference[upper]
        for square in (p, n, adjusted):
            square.T[upper] = square[upper]
    return Pairwise(difference, n, p, adjusted)


def separated(matrix: Floats, level: float = 0.95) -> tuple[Bools, Floats]:
    """Which pairs of rows differ by paired t tests with Bonferroni's correction over all pairs, and their mean differences; square arrays.

    For hundreds of rows: needs no p-values and no sorting, and is nearly Holm's answer there.
    """
    k = len(matrix)
    upper = np.triu_indices(k, 1)
    difference, different = np.zeros((k, k)), np.zeros((k, k), dtype=bool)
    alpha = (1 - level) / max(1, len(upper[0]))
    for at in range(0, len(upper[0]), CHUNK):
        i, j = upper[0][at : at + CHUNK], upper[1][at : at + CHUNK]
        mean, t, count = _statistics(matrix[i], matrix[j])
        critical = np.full(count.max() + 1, np.inf)
        sizes = np.unique(count[count > 1])
        critical[sizes] = student_quantile(1 - alpha / 2, sizes - 1)
        difference[i, j], difference[j, i] = mean, -mean
        different[i, j] = different[j, i] = t > critical[count]
    return different, difference


def _tests(a: Floats, b: Floats) -> tuple[Floats, Floats, Ints]:
    """Mean difference, p and common seeds of each row of `a` against the same row of `b`."""
    mean, t, count = _statistics(a, b)
    p = 2 * student_cdf(-t, np.maximum(count - 1, 1))
    p[count < 2] = np.nan
    return mean, p, count


def _statistics(a: Floats, b: Floats) -> tuple[Floats, Floats, Ints]:
    """Mean difference, |t| and common seeds of each row of `a` against the same row of `b`; t is NaN below two common seeds."""
    d = a - b
    with np.errstate(invalid="ignore", divide="ignore"):
        d[np.abs(d) <= RELATIVE_ZERO * np.maximum(np.abs(a), np.abs(b))] = 0.0
        absent = np.isnan(d)
        count = (~absent).sum(axis=1)
        if absent.any():
            d[absent] = 0.0
        mean = d.sum(axis=1) / count
        d -= mean[:, None]
        d[absent] = 0.0
        error = np.sqrt(np.einsum("ij,ij->i", d, d) / (count - 1) / count)
        # Infinite where seeds show no spread: the difference is then certain, as far as seeds can tell.
        t = np.where(error <= RELATIVE_ZERO * np.abs(mean), np.where(mean == 0, 0.0, np.inf), np.abs(mean) / error)
        for at in np.flatnonzero(np.isinf(t)):  # unless the values vary: coarse ones differ by the same amount by chance
            both = ~absent[at]
            t[at] = np.abs(mean[at]) / np.float64(unpaired_error(a[at][both], b[at][both]))
    return mean, t, count


def cliques(different: Bools, order: Ints) -> list[list[int]]:
    """Maximal sets of methods no two of which are told apart, by insert-and-absorb (Piepho 2004); best first along `order`.

    `different[i, j]`: i and j are significantly different. Two methods share a clique exactly when they are not told apart.
    The number of cliques can grow exponentially with that of the methods: empty where more than `MOST_CLIQUES` were found on the way.
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
            if len(columns) > MOST_CLIQUES:
                return []
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
