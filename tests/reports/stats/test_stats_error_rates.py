"""Simulations of many methods at once: the error rate over all pairs, and what pairing finds (single tests: test_stats_coverage.py)."""

from __future__ import annotations

import numpy as np
import pytest

from reports.stats import groups, intervals, paired


def test_holm_over_all_pairs_keeps_the_chance_of_any_false_difference() -> None:
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(600):
        matrix = rng.normal(size=(8, 10)) + rng.normal(size=10)
        false += bool((groups.pairwise_t(matrix).adjusted < 0.05).any())
    assert false / 600 <= 0.07


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_accuracies_on_two_hundred_examples_keep_the_chance_of_any_false_difference(seeds: int) -> None:
    """Coarse values: equal methods differ by the same number of examples on every seed more often than not somewhere on a board."""
    rng = np.random.default_rng(3)
    boards = [rng.binomial(200, 0.95, size=(20, seeds)) / 200 for _ in range(200)]
    assert np.mean([(groups.pairwise_t(board).adjusted < 0.05).any() for board in boards]) <= 0.07


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
