"""The leaderboard's running totals against exact rational arithmetic (fractions) and against statistics.stdev."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.summary import Cell, Totals, Values, totals, totals_of_columns

CELL = Cell(1, 2, 3)


def total(values: list[float | None]) -> Totals:
    """Totals of one group, as a recording makes them."""
    return totals({(1, 2): [((3,), [value]) for value in values]}).get(CELL, Totals())


numbers = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 1.0, 1e-300, -1e-300])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(numbers | st.none(), max_size=8), min_size=1, max_size=8))
def test_merging_groups_equals_the_exact_moments_of_all(groups: list[list[float | None]]) -> None:
    merged = Totals()
    for group in groups:
        merged.merge(total(group))
    values = [value for group in groups for value in group if value is not None]
    assert merged.n == len(values)
    assert merged.nonfinite == sum(len(group) for group in groups) - len(values)
    if values:
        exact = [Fraction(value) for value in values]
        mean = sum(exact) / len(exact)
        spread = max(values) - min(values)
        assert merged.mean == pytest.approx(float(mean), rel=1e-12, abs=1e-12 * spread)
        assert (merged.low, merged.high) == (min(values), max(values))
    if len(values) > 1:
        variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
        assert merged.sd is not None
        assert merged.sd == pytest.approx(math.sqrt(variance), rel=1e-9, abs=1e-12 * (spread + abs(float(mean))))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5), min_size=1, max_size=5))
def test_any_finite_values_have_a_finite_mean_within_their_range(groups: list[list[float]]) -> None:
    merged = Totals()
    for group in groups:
        merged.merge(total(list(group)))
    values = [value for group in groups for value in group]
    assert math.isfinite(merged.mean)
    slack = 1e-12 * max(abs(merged.low), abs(merged.high))
    assert merged.low - slack <= merged.mean <= merged.high + slack
    assert merged.sd is None or merged.sd >= 0
    assert merged.n == len(values)
    assert all(item is None or math.isfinite(item) for item in merged.row(CELL)[3:])  # type: ignore[arg-type]


def test_columns_give_the_same_totals_as_rows() -> None:
    random = np.random.default_rng(0)
    arms = [(1, 1), (1, 2), (2, 1)]
    arm, metric = random.integers(0, 3, 500), random.integers(1, 4, 500)
    value = np.where(random.random(500) < 0.1, np.nan, random.normal(size=500))
    groups: Values = {}
    for a, m, v in zip(arm.tolist(), metric.tolist(), value.tolist(), strict=True):
        groups.setdefault(arms[a], []).append(((m,), [None if v != v else v]))
    found, expected = totals_of_columns(arms, arm, metric, value), totals(groups)
    assert found.keys() == expected.keys()
    for cell, mine in found.items():
        assert mine.row(cell) == pytest.approx(expected[cell].row(cell), rel=1e-12)
    huge = totals_of_columns(arms, np.zeros(2, int), np.ones(2, int), np.array([1.7e308, 1.7e308]))
    assert huge[Cell(1, 1, 1)].mean == pytest.approx(1.7e308)
    assert totals_of_columns([], arm[:0], metric[:0], value[:0]) == {}
