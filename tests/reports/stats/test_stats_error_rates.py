"""Simulations with fixed seeds: tests reject a true null as often as they say, intervals cover as often as they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reports.stats import groups, intervals, paired

DRAWS = 4000
Sampler = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

#: One value of each method on a shared seed: a common part (the split) plus the method's own.
SAMPLERS: dict[str, Sampler] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.lognormal(0, 1, size=size),
    "heavy-tailed": lambda rng, size: rng.standard_t(3, size=size),
}


def null_differences(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng([n, *kind.encode()])
    return SAMPLERS[kind](rng, (DRAWS, n)) - SAMPLERS[kind](rng, (DRAWS, n))


@pytest.mark.parametrize("n", [5, 10, 30])
@pytest.mark.parametrize("kind", SAMPLERS)
def test_paired_t_rejects_true_nulls_at_the_stated_rate_and_its_interval_covers(kind: str, n: int) -> None:
    d = null_differences(kind, n)
    table = intervals.t_intervals(d)
    miss = 1 - ((table.low <= 0) & (table.high >= 0)).mean()
    p = np.array([groups.pairwise_t(np.stack([row, np.zeros(n)])).p[0, 1] for row in d[:500]])
    outside = (table.low[:500] > 0) | (table.high[:500] < 0)
    assert ((p < 0.05) == outside).all()  # test and interval say the same
    # Never above 7 %. Below 3 % only with heavy tails and few seeds: there the t test is conservative.
    assert miss <= 0.07
    assert miss >= (0.03 if kind == "normal" or n == 30 else 0.02)


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("n", [8, 20])
def test_wilcoxon_rejects_true_nulls_at_the_stated_rate(kind: str, n: int) -> None:
    rate = np.mean([paired.wilcoxon(row).p < 0.05 for row in null_differences(kind, n)[:2000]])
    assert 0.03 <= rate <= 0.07


def test_wilcoxon_and_sign_flips_can_never_reject_with_five_seeds() -> None:
    d = np.array([3.0, 4.0, 5.0, 6.0, 7.0])
    assert paired.wilcoxon(d).p == paired.sign_flip(d).p == paired.sign_flip(d).smallest_p == 0.0625


@pytest.mark.parametrize("kind", SAMPLERS)
def test_sign_flip_rejects_true_nulls_at_the_stated_rate(kind: str) -> None:
    d = null_differences(kind, 10)[:1500]
    rate = np.mean([paired.sign_flip(row).p < 0.05 for row in d])
    assert 0.03 <= rate <= 0.07


def test_holm_over_all_pairs_keeps_the_chance_of_any_false_difference() -> None:
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(600):
        matrix = rng.normal(size=(8, 10)) + rng.normal(size=10)
        false += bool((groups.pairwise_t(matrix).adjusted < 0.05).any())
    assert false / 600 <= 0.07


def test_pairing_finds_a_difference_that_the_spread_between_seeds_hides() -> None:
    rng = np.random.default_rng(11)
    found = hidden = 0
    for _ in range(200):
        seeds = rng.normal(0, 1, 10)
        a, b = seeds + rng.normal(0, 0.1, 10), seeds + 0.2 + rng.normal(0, 0.1, 10)
        found += paired.paired_t(a - b).p < 0.05
        ia, ib = intervals.t_interval(a), intervals.t_interval(b)
        hidden += ia.low < ib.high and ib.low < ia.high
    assert found >= 180
    assert hidden == 200


def test_bca_interval_covers_the_mean_of_normal_data_with_thirty_seeds() -> None:
    rng = np.random.default_rng(13)
    hits = 0
    for at in range(400):
        got = intervals.bootstrap_interval(rng.normal(size=30), draws=999, seed=at)
        hits += got.low <= 0 <= got.high
    assert 0.91 <= hits / 400 <= 0.98
