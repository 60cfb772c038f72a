"""How much could have been found: minimum detectable effect and seeds needed, for one-sample (paired) t tests."""

from __future__ import annotations

import math

from reports.stats.distributions import noncentral_t_cdf, student_quantile

MOST_SEEDS = 100_000


def power(effect: float, sd: float, n: int, alpha: float = 0.05, sides: int = 2) -> float:
    """Chance that a t test of n pairs with that true mean and standard deviation rejects zero (in the effect's direction)."""
    if n < 2 or math.isnan(sd):
        return math.nan
    if sd == 0:
        return 1.0 if effect else alpha
    critical = float(student_quantile(1 - alpha / sides, n - 1))
    shift = abs(effect) / sd * math.sqrt(n)
    found = 1 - noncentral_t_cdf(critical, n - 1, shift)
    if sides == 2:
        found += noncentral_t_cdf(-critical, n - 1, shift)
    return found


def detectable_effect(sd: float, n: int, alpha: float = 0.05, target: float = 0.8, sides: int = 2) -> float:
    """The smallest true mean difference that n pairs find with probability `target`."""
    if n < 2 or math.isnan(sd):
        return math.nan
    if sd == 0:
        return 0.0
    low, high = 0.0, sd
    while power(high, sd, n, alpha, sides) < target:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, sd, n, alpha, sides) < target else (low, middle)
    return high


def seeds_needed(effect: float, sd: float, alpha: float = 0.05, target: float = 0.8, sides: int = 2) -> int | None:
    """The smallest number of pairs that finds this true mean difference with probability `target`; None when more than 100,000."""
    if math.isnan(effect) or math.isnan(sd) or effect == 0:
        return None
    if sd == 0 or power(effect, sd, 2, alpha, sides) >= target:
        return 2
    low, high = 2, 4
    while power(effect, sd, high, alpha, sides) < target:
        low, high = high, high * 2
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power(effect, sd, middle, alpha, sides) < target else (low, middle)
    return high
