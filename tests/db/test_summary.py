"""The leaderboard's running totals against exact rational arithmetic (fractions) and against statistics.stdev."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.points import Points
from db.summary import Cell, Cells, Totals, collect, merged

CELL = Cell(1, 2, 3)


def cells(values: list[float | None]) -> Cells | None:
    """Totals of one group as columns, as a recording makes them; None stands for a value that is not finite."""
    count = len(values)
    numbers = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return collect(Points(np.arange(count), np.full(count, 3), numbers), np.zeros(count, dtype=np.int64), [(1, 2)])


def total(values: list[float | None]) -> Totals:
    found = cells(values)
    return Totals() if found is None else found.totals()[CELL]


numbers = st.floats(-1e6, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 1.0, 1e-300, -1e-300])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(numbers | st.none(), max_size=8), min_size=1, max_size=8))
def test_merging_groups_equals_the_exact_moments_of_all(groups: list[list[float | None]]) -> None:
    whole = Totals()
    for group in groups:
        whole.merge(total(group))
    values = [value for group in groups for value in group if value is not None]
    assert whole.n == len(values)
    assert whole.nonfinite == sum(len(group) for group in groups) - len(values)
    if values:
        exact = [Fraction(value) for value in values]
        mean = sum(exact) / len(exact)
        spread = max(values) - min(values)
        assert whole.mean == pytest.approx(float(mean), rel=1e-12, abs=1e-12 * spread)
        assert (whole.low, whole.high) == (min(values), max(values))
    if len(values) > 1:
        variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1)
        assert whole.sd is not None
        assert whole.sd == pytest.approx(math.sqrt(variance), rel=1e-9, abs=1e-12 * (spread + abs(float(mean))))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5), min_size=1, max_size=5))
def test_any_finite_values_have_a_finite_mean_within_their_range(groups: list[list[float]]) -> None:
    whole = Totals()
    for group in groups:
        whole.merge(total(list(group)))
    values = [value for group in groups for value in group]
    assert math.isfinite(whole.mean)
    slack = 1e-12 * max(abs(whole.low), abs(whole.high))
    assert whole.low - slack <= whole.mean <= whole.high + slack
    assert whole.sd is None or whole.sd >= 0
    assert whole.n == len(values)
    assert all(item is None or math.isfinite(item) for item in whole.row(CELL)[3:])  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=5), min_size=1, max_size=5))
def test_merging_columns_equals_merging_one_by_one(groups: list[list[float | None]]) -> None:
    whole = Totals()
    for group in groups:
        whole.merge(total(group))
    found = merged([cells(group) for group in groups])
    together = Totals() if found is None else found.totals()[CELL]
    scale = max(abs(whole.low), abs(whole.high)) if whole.n else 0.0
    assert (together.n, together.nonfinite, together.low, together.high) == (whole.n, whole.nonfinite, whole.low, whole.high)
    assert together.mean == pytest.approx(whole.mean, rel=1e-12, abs=1e-12 * scale)


def test_columns_of_many_cells_equal_numpys_moments() -> None:
    random = np.random.default_rng(0)
    arms = [(1, 1), (1, 2), (2, 1)]
    arm = np.repeat(random.integers(0, 3, 200), 3)  # 200 attempts with three metrics each
    points = Points(
        np.repeat(np.arange(200), 3), np.tile([5, 6, 7], 200), np.where(random.random(600) < 0.1, np.nan, random.normal(size=600))
    )
    found = collect(points, arm, arms)
    assert found is not None
    totals = found.totals()
    assert len(totals) == 9
    for cell, mine in totals.items():
        values = points.value[(arm == arms.index(cell[:2])) & (points.metric == cell.metric)]
        finite = values[np.isfinite(values)]
        assert (mine.n, mine.nonfinite) == (len(finite), len(values) - len(finite))
        assert [mine.mean, mine.sd, mine.low, mine.high] == pytest.approx([finite.mean(), finite.std(ddof=1), finite.min(), finite.max()])
    assert collect(points, np.full(600, -1), arms) is None
    assert total([1.7e308, 1.7e308]).mean == pytest.approx(1.7e308)
