"""Ranks, ratings, profiles, fronts and power against scipy, scikit-posthocs, scikit-learn, statsmodels or closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reports.stats import friedman, pareto, power, profiles, ratings

RNG = np.random.default_rng(99)
EXACT = {"rel": 1e-9, "abs": 1e-12}


@given(arrays(float, st.tuples(st.integers(3, 8), st.integers(3, 6)), elements=st.integers(0, 9).map(float)))
@settings(max_examples=60, deadline=None)
def test_friedman_equals_scipy_with_ties(values: np.ndarray) -> None:
    got = friedman.friedman(values)
    assert got.mean_ranks == pytest.approx(np.mean([ss.rankdata(row) for row in values], axis=0))
    if got.chi2 > 0:
        want = ss.friedmanchisquare(*values.T)
        assert (got.chi2, got.chi2_p) == (pytest.approx(want.statistic, rel=1e-9), pytest.approx(want.pvalue, rel=1e-9))


def test_nemenyi_equals_scikit_posthocs_and_cd_is_its_boundary() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    values = RNG.normal(size=(12, 5)) + np.arange(5) * 0.6
    ranking = friedman.friedman(values)
    want = posthocs.posthoc_nemenyi_friedman(values).to_numpy()
    got = friedman.nemenyi(ranking)
    off = ~np.eye(5, dtype=bool)
    assert got[off] == pytest.approx(want[off], rel=1e-6, abs=1e-9)
    cd = friedman.critical_difference(5, 12)
    gaps = np.abs(ranking.mean_ranks[:, None] - ranking.mean_ranks)
    assert ((gaps > cd) == (got < 0.05))[off].all()


def test_critical_difference_is_demsars_table() -> None:
    # Demšar (2006), table 5(a): q(.05) = 1.960, 2.343, 2.569, 2.728 for 2 to 5 classifiers; his example: k=4, N=14 gives 1.25.
    for k, q in ((2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728)):
        assert friedman.critical_difference(k, 10) / np.sqrt(k * (k + 1) / 60) == pytest.approx(q, abs=1e-3)
    assert friedman.critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_friedman_rejects_true_nulls_at_the_stated_rate() -> None:
    rng = np.random.default_rng(3)
    rate = np.mean([friedman.friedman(rng.normal(size=(10, 5))).p < 0.05 for _ in range(1500)])
    assert 0.03 <= rate <= 0.07


def test_friedman_of_one_task_or_identical_values_claims_nothing() -> None:
    assert np.isnan(friedman.friedman(np.ones((1, 3))).p)
    assert friedman.friedman(np.ones((5, 3))).p == 1.0
    assert friedman.friedman(np.arange(15.0).reshape(5, 3)).p == pytest.approx(1 / 6**4)  # all five tasks agree on one of 3! orders


def test_rank_cliques_are_maximal_runs() -> None:
    assert friedman.rank_cliques(np.array([1.0, 1.5, 2.4, 4.0]), 1.0) == [[0, 1], [1, 2]]
    assert friedman.rank_cliques(np.array([3.0, 1.0, 2.0]), 5.0) == [[1, 2, 0]]
    assert friedman.rank_cliques(np.array([1.0, 3.0]), 1.0) == []


def test_bradley_terry_equals_logistic_regression() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    values = RNG.normal(size=(40, 5)) + np.arange(5) * 0.4
    table = ratings.wins(values)
    got = ratings.bradley_terry(table, prior=0.0)
    x, y, w = [], [], []
    for i in range(5):
        for j in range(5):
            if i != j:
                row = np.zeros(5)
                row[i], row[j] = 1, -1
                x += [row]
                y += [1]
                w += [table[i, j]]
                x += [-row]
                y += [0]
                w += [table[i, j]]
    model = linear.LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(np.array(x), y, sample_weight=w)
    want = model.coef_[0] - model.coef_[0].mean()
    assert got == pytest.approx(want, abs=1e-4)


def test_elo_of_two_methods_is_the_log_odds_of_their_wins_and_weights_count() -> None:
    values = np.array([[1.0, 2.0]] * 10 + [[2.0, 1.0]])
    got = ratings.elo(values, prior=0.0)
    assert got[0] - got[1] == pytest.approx(400, abs=1e-6)
    weighted = ratings.elo(np.array([[1.0, 2.0], [2.0, 1.0]]), weights=np.array([10.0, 1.0]), prior=0.0)
    assert weighted == pytest.approx(got, abs=1e-6)
    assert ratings.elo(values, lower_is_better=False, prior=0.0) == pytest.approx(got[::-1], abs=1e-6)


def test_wins_share_ties_and_skip_missing() -> None:
    table = ratings.wins(np.array([[1.0, 1.0, np.nan], [1.0, 2.0, 3.0]]))
    assert table.tolist() == [[0, 1.5, 1], [0.5, 0, 1], [0, 0, 0]]


@given(arrays(float, st.integers(1, 10).map(lambda n: 4 * n), elements=st.floats(-5, 5)))
@settings(max_examples=60, deadline=None)
def test_iqm_equals_scipy_trim_mean(x: np.ndarray) -> None:
    assert profiles.iqm(x) == pytest.approx(ss.trim_mean(x, 0.25), **EXACT)


def test_iqm_cuts_fractions_of_values() -> None:
    assert profiles.iqm(np.array([1.0, 2.0, 10.0])) == pytest.approx((0.25 * 1 + 1 * 2 + 0.25 * 10) / 1.5)
    assert profiles.iqm(np.array([7.0, np.nan])) == 7.0


def test_performance_profile_by_hand() -> None:
    ratios = profiles.performance_ratios(np.array([[1.0, 2.0], [3.0, 1.0], [1.0, np.nan]]))
    assert profiles.performance_profile(ratios, np.array([1.0, 2.0, 3.0])).tolist() == [[2 / 3, 2 / 3, 1.0], [1 / 3, 2 / 3, 2 / 3]]


@given(arrays(float, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(0, 5).map(float)))
@settings(max_examples=80, deadline=None)
def test_pareto_front_is_what_nothing_dominates_and_hypervolume_is_the_covered_cells(points: np.ndarray) -> None:
    front = pareto.pareto_front(points)
    kept = points[front]
    for point in points:
        dominated = any((other <= point).all() and (other < point).any() for other in points)
        assert dominated or (kept == point).all(axis=1).any()
    for at in front:
        assert not any((other <= points[at]).all() and (other < points[at]).any() for other in points)
    cells = sum(any((p <= (i, j)).all() for p in points) for i in range(7) for j in range(7))
    assert pareto.hypervolume(points, np.array([7.0, 7.0])) == cells


@pytest.mark.parametrize("sides", [1, 2])
def test_power_equals_statsmodels_and_seeds_needed_is_where_it_crosses(sides: int) -> None:
    tt = pytest.importorskip("statsmodels.stats.power").TTestPower()
    alternative = {1: "larger", 2: "two-sided"}[sides]
    for effect, sd, n in ((0.5, 1.0, 10), (1.0, 0.7, 5), (0.2, 1.0, 30)):
        assert power.power(effect, sd, n, sides=sides) == pytest.approx(tt.power(effect / sd, n, 0.05, alternative=alternative), rel=1e-6)
        needed = power.seeds_needed(effect, sd, sides=sides)
        assert needed is not None
        assert power.power(effect, sd, needed, sides=sides) >= 0.8 > power.power(effect, sd, needed - 1, sides=sides)
        mde = power.detectable_effect(sd, n, sides=sides)
        assert power.power(mde, sd, n, sides=sides) == pytest.approx(0.8, abs=1e-9)


def test_power_at_the_edges() -> None:
    assert power.seeds_needed(0.0, 1.0) is None
    assert power.seeds_needed(1e-6, 1.0) is None
    assert power.seeds_needed(1.0, 0.0) == 2
    assert power.detectable_effect(0.0, 5) == 0.0
    assert np.isnan(power.power(1.0, 1.0, 1))
