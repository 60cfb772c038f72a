"""The group-sequential rule: its levels add up, its false-positive rate holds, and it finds what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.stats.sequential import decided, looks, spent


def test_levels_add_up_to_alpha_and_follow_the_spending_function() -> None:
    schedule = looks(5, 64)
    assert [look.seeds for look in schedule] == [5, 8, 12, 18, 27, 41, 62, 64]
    assert sum(look.alpha for look in schedule) == pytest.approx(0.05)
    assert schedule[0].alpha == pytest.approx(0.05 * math.log(1 + (math.e - 1) * 5 / 64))
    assert spent(0.0, 0.05) == 0.0
    assert spent(1.0, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize(("first", "last"), [(1, 10), (10, 5)])
def test_impossible_schedules_are_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="looks need"):
        looks(first, last)


@pytest.mark.parametrize("shape", ["normal", "heavy-tailed", "correlated"])
def test_simulated_family_wise_false_positive_rate_stays_below_alpha(shape: str) -> None:
    """2,000 boards of four equal methods, up to 40 seeds: any pair ever called different counts. Alpha 5 %; the Monte-Carlo error of the
    rate is below 0.5 %, so 6.5 % would be three errors too many."""
    rng = np.random.default_rng(7)
    schedule = looks(5, 40)
    wrong = 0
    for _ in range(2000):
        noise = rng.standard_t(4, (4, 40)) if shape == "heavy-tailed" else rng.standard_normal((4, 40))
        if shape == "correlated":
            noise += 3 * rng.standard_normal((1, 40))
        wrong += bool(decided(noise, schedule).any())
    assert wrong / 2000 <= 0.065


def test_a_clear_difference_is_decided_early_and_equal_methods_stay_open() -> None:
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((1, 40))
    values = shared + 0.1 * rng.standard_normal((3, 40)) + np.array([[0.0], [0.0], [1.0]])
    early = decided(values[:, :5], looks(5, 40))
    assert early.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    assert not decided(values, looks(5, 40))[0, 1]


def test_a_method_without_its_seeds_takes_no_part_in_a_look() -> None:
    values = np.vstack([np.zeros(8), np.r_[np.ones(5) + np.arange(5) * 1e-3, np.full(3, np.nan)]])
    assert decided(values, looks(5, 8))[0, 1], "decided at five seeds"
    values[1, 4] = np.nan
    assert not decided(values, looks(5, 8))[0, 1]
