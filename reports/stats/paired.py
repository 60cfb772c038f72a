"""Tests on paired differences (same task, same seed, two methods): Student t, Wilcoxon signed-rank, sign-flip permutation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.stats.distributions import Floats, normal_cdf, normal_quantile, student_cdf, student_quantile

Alternative = Literal["two-sided", "greater", "less"]

#: Differences smaller than this, relative to the values compared, are rounding (another order of summation), not an effect.
RELATIVE_ZERO = 1e-12

#: All 2^n sign patterns are enumerated up to here (65,536 patterns).
EXACT_SIGN_FLIPS = 16

#: The exact null distribution of the signed-rank statistic is computed up to here (ties included); the normal approximation above is then
#: good to three digits.
EXACT_RANKS = 200


@dataclass(frozen=True, slots=True)
class PairedResult:
    """A test of "the difference is zero" (or beyond `null`): its name as stated to people, effect with interval, and p."""

    test: str
    n: int
    effect: float
    low: float
    high: float
    p: float
    smallest_p: float = 0.0  #: no data of this size could give a smaller p; above .05 the test can never reject
    note: str = ""


def differences(a: Floats, b: Floats) -> Floats:
    """a - b with rounding noise set to exactly zero (see RELATIVE_ZERO)."""
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    scale = np.maximum(np.abs(a), np.abs(b))
    return np.where(np.abs(d) <= RELATIVE_ZERO * scale, 0.0, d)


def unpaired_error(a: Floats, b: Floats) -> float:
    """Standard error of the mean difference of a [n] and b [n] as if the seeds were not paired: 0 where neither varies (a deterministic
    task), NaN where all that shows this is two seeds, which agree by chance too often."""
    n, spread = len(a), math.hypot(np.std(a, ddof=1), np.std(b, ddof=1))
    if spread <= RELATIVE_ZERO * float(np.abs([a, b]).max()):
        return 0.0 if n > 2 else math.nan
    return spread / math.sqrt(n)


def _tail(lower: float, upper: float, alternative: Alternative) -> float:
    if alternative == "greater":
        return upper
    if alternative == "less":
        return lower
    return min(1.0, 2 * min(lower, upper))


def paired_t(
    d: Floats, *, null: float = 0.0, alternative: Alternative = "two-sided", level: float = 0.95, without_spread: float = 0.0
) -> PairedResult:
    """Student's paired t test of mean(d) = `null`. The interval is always two-sided. Needs n >= 2.

    Differences without any spread give p = 0 or 1: in a deterministic task the seeds carry no uncertainty. But values that vary may also
    differ by the same amount on every seed by chance, if they are coarse (accuracies on some hundred examples): `without_spread` is the
    standard error to judge a difference by then (see `unpaired_error`; NaN: there is no answer).
    """
    d = np.asarray(d, dtype=np.float64)
    n = len(d)
    mean = float(d.mean()) if n else math.nan
    if n < 2:
        return PairedResult("paired t", n, mean, math.nan, math.nan, math.nan, note="one pair has no spread to judge by")
    error, name, note = float(d.std(ddof=1)) / np.sqrt(n), "paired t", ""
    if error <= RELATIVE_ZERO * max(abs(mean), float(np.abs(d).max())):
        error, note = without_spread if mean else 0.0, "no spread over seeds"
        if math.isnan(error):
            return PairedResult("paired t", n, mean, math.nan, math.nan, math.nan, note="two seeds that agree have no spread to judge by")
        if error == 0:
            shift = mean - null
            lower, upper = (1.0, 0.0) if shift > 0 else (0.0, 1.0) if shift < 0 else (1.0, 1.0)
            return PairedResult("paired t", n, mean, mean, mean, _tail(lower, upper, alternative), note=note)
        name, note = "t by the spread of the values", "the same difference on every seed"
    t = (mean - null) / error
    half = float(student_quantile((1 + level) / 2, n - 1)) * error
    p = _tail(float(student_cdf(t, n - 1)), float(student_cdf(-t, n - 1)), alternative)
    return PairedResult(name, n, mean, mean - half, mean + half, p, note=note)


def signed_rank_null(ranks2: Floats) -> Floats:
    """Exact null probabilities of the sum of doubled ranks with random signs: entry s is P(sum of the positives = s).

    `ranks2` are twice the mid-ranks, hence integers, so ties need no approximation.
    """
    total = int(ranks2.sum())
    probability = np.zeros(total + 1)
    probability[0] = 1.0
    for rank in ranks2.astype(int):
        shifted = np.zeros_like(probability)
        shifted[rank:] = probability[: total + 1 - rank]
        probability = 0.5 * (probability + shifted)
    return probability


def mid_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def wilcoxon(d: Floats, *, null: float = 0.0, alternative: Alternative = "two-sided", level: float = 0.95) -> PairedResult:
    """Wilcoxon's signed-rank test (zeros dropped, as Wilcoxon did); exact up to 200 pairs, ties included. Effect: Hodges-Lehmann."""
    full = np.asarray(d, dtype=np.float64)
    estimate, low, high = hodges_lehmann(full, level)
    shifted = full - null
    shifted = shifted[shifted != 0]
    n = len(shifted)
    if n == 0:
        return PairedResult("Wilcoxon signed-rank", len(full), estimate, low, high, 1.0, 1.0, "all differences are zero")
    ranks2: Floats = 2.0 * mid_ranks(np.abs(shifted))
    positive = float(ranks2[shifted > 0].sum())
    if n <= EXACT_RANKS:
        null_p = signed_rank_null(ranks2)
        at = round(positive)
        lower, upper = float(null_p[: at + 1].sum()), float(null_p[at:].sum())
        smallest = (2 if alternative == "two-sided" else 1) * 0.5**n
        return PairedResult("Wilcoxon signed-rank (exact)", len(full), estimate, low, high, _tail(lower, upper, alternative), smallest)
    mean, sd = ranks2.sum() / 2, np.sqrt((ranks2**2).sum() / 4)
    lower, upper = (float(normal_cdf((positive - mean + 1) / sd)), float(normal_cdf(-(positive - mean - 1) / sd)))
    return PairedResult("Wilcoxon signed-rank (normal)", len(full), estimate, low, high, _tail(min(lower, 1), min(upper, 1), alternative))


def hodges_lehmann(d: Floats, level: float = 0.95) -> tuple[float, float, float]:
    """Median of the Walsh averages, with the interval that inverts the signed-rank test.

    The bounds are infinite where no data of this size reach `level` (n <= 5 at 95 %).
    """
    d = np.asarray(d, dtype=np.float64)
    n = len(d)
    if n == 0:
        return float("nan"), float("nan"), float("nan")
    i, j = np.triu_indices(n)
    walsh = np.sort((d[i] + d[j]) / 2)
    estimate = float(np.median(walsh))
    if n <= EXACT_RANKS:
        cumulative = np.cumsum(signed_rank_null(2.0 * np.arange(1, n + 1, dtype=np.float64))[::2])
        k = int(np.searchsorted(cumulative, (1 - level) / 2, side="right")) - 1
        if k < 0:
            return estimate, float("-inf"), float("inf")
        return estimate, float(walsh[k]), float(walsh[len(walsh) - 1 - k])
    z = float(normal_quantile((1 - level) / 2))
    k = max(0, int(np.floor(n * (n + 1) / 4 + z * np.sqrt(n * (n + 1) * (2 * n + 1) / 24))))
    return estimate, float(walsh[k]), float(walsh[len(walsh) - 1 - k])


def sign_flip(
    d: Floats,
    *,
    null: float = 0.0,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
    draws: int = 99_999,
    seed: int = 0,
    without_spread: float = 0.0,
) -> PairedResult:
    """Permutation test of the mean difference: under the null each sign is as likely as its opposite.

    Exact up to 16 pairs; above, `draws` random sign patterns with the observed one counted, so p is never zero. The interval is
    Student's (`without_spread`: see `paired_t`).
    """
    d = np.asarray(d, dtype=np.float64)
    n = len(d)
    base = paired_t(d, level=level, without_spread=without_spread)
    if n == 0:
        return PairedResult("sign-flip permutation", 0, base.effect, base.low, base.high, float("nan"), 1.0)
    x = d - null
    observed = x.sum()
    tolerance = 1e-12 * max(float(np.abs(x).sum()), np.finfo(float).tiny)
    if n <= EXACT_SIGN_FLIPS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
        sums = signs @ x
        lower, upper = float((sums <= observed + tolerance).mean()), float((sums >= observed - tolerance).mean())
        both = float((np.abs(sums) >= abs(observed) - tolerance).mean())
        name, smallest = "sign-flip permutation (exact)", (2 if alternative == "two-sided" else 1) * 0.5**n
    else:
        rng = np.random.default_rng(seed)
        sums = np.concatenate([rng.choice((-1.0, 1.0), size=(size, n)) @ x for size in _chunks(draws, 10_000)])
        count = draws + 1
        lower = ((sums <= observed + tolerance).sum() + 1) / count
        upper = ((sums >= observed - tolerance).sum() + 1) / count
        both = ((np.abs(sums) >= abs(observed) - tolerance).sum() + 1) / count
        name, smallest = f"sign-flip permutation ({draws} draws)", 1 / count
    p = both if alternative == "two-sided" else upper if alternative == "greater" else lower
    return PairedResult(name, n, base.effect, base.low, base.high, float(p), smallest)


def _chunks(total: int, size: int) -> list[int]:
    return [size] * (total // size) + ([total % size] if total % size else [])


PairedTest = Literal["t", "wilcoxon", "permutation"]

#: The paired tests that people can choose between, and what each of them estimates, in words.
TEST_TEXT: Mapping[PairedTest, str] = {
    "t": "Mean difference (paired t)",
    "wilcoxon": "Hodges-Lehmann shift (Wilcoxon's signed-rank test)",
    "permutation": "Mean difference (sign-flip permutation test, Student's interval)",
}


def between(a: Floats, b: Floats, test: PairedTest = "t") -> PairedResult:
    """The test of a - b over the seeds on which neither is NaN."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    both = ~np.isnan(a) & ~np.isnan(b)
    a, b = a[both], b[both]
    d = differences(a, b)
    if test == "wilcoxon":
        return wilcoxon(d)
    return (paired_t if test == "t" else sign_flip)(d, without_spread=unpaired_error(a, b) if len(d) > 1 else 0.0)
