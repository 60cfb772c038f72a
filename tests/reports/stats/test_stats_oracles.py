"""Every statistic against an independent implementation or a closed form, to 1e-9 unless Monte-Carlo error is stated."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats as ss
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reports.stats import effects, groups, intervals, multiplicity, paired

RNG = np.random.default_rng(20261123)
EXACT = {"rel": 1e-9, "abs": 1e-12}


@pytest.fixture(scope="module")
def young_heap() -> Iterator[None]:
    """The garbage collector passes over what earlier tests left: statsmodels collects in every call, half a minute in the whole suite."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("n", [2, 5, 12, 30])
def test_t_interval_equals_scipy(n: int) -> None:
    x = RNG.standard_gamma(2.0, n)
    got = intervals.t_interval(x)
    want = ss.t.interval(0.95, n - 1, x.mean(), ss.sem(x))
    assert (got.value, got.low, got.high) == pytest.approx((x.mean(), *want), **EXACT)


def test_t_intervals_drop_missing_seeds_row_by_row() -> None:
    matrix = np.array([[1.0, 2.0, np.nan, 4.0], [5.0, np.nan, np.nan, np.nan], [3.0, 3.0, 3.0, 3.0], [0.1 + 0.2, 0.3, 0.3, 0.3]])
    table = intervals.t_intervals(matrix)
    want = ss.t.interval(0.95, 2, 7 / 3, ss.sem([1, 2, 4]))
    assert (table.low[0], table.high[0]) == pytest.approx(want, **EXACT)
    assert table.n.tolist() == [3, 1, 4, 4]
    assert np.isnan(table.low[1])
    assert np.isnan(table.sd[1])
    assert (table.low[2], table.high[2], table.sd[3]) == (3.0, 3.0, 0.0)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_equals_scipy_to_monte_carlo_error(method: str) -> None:
    x = np.random.default_rng(3).gamma(3.0, size=40)
    got = intervals.bootstrap_interval(x, draws=40_000, method=method)
    want = ss.bootstrap((x,), np.mean, n_resamples=40_000, method={"bca": "BCa"}.get(method, method), rng=np.random.default_rng(1))
    width = got.high - got.low
    assert got.low == pytest.approx(want.confidence_interval.low, abs=0.02 * width)
    assert got.high == pytest.approx(want.confidence_interval.high, abs=0.02 * width)


def test_stratified_bootstrap_of_constant_strata_has_no_width_and_clustered_has() -> None:
    values, task = np.repeat([1.0, 2.0, 6.0], 4), np.repeat([0, 1, 2], 4)
    stratified = intervals.bootstrap_interval(values, strata=task, draws=500)
    clustered = intervals.bootstrap_interval(values, clusters=task, draws=2000)
    assert (stratified.low, stratified.high) == (3.0, 3.0)
    assert clustered.low == pytest.approx(1.0)
    assert clustered.high == pytest.approx(6.0)
    uneven = intervals.bootstrap_interval(values[:-2], clusters=task[:-2], draws=500)
    assert uneven.low < values[:-2].mean() < uneven.high


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("n", [2, 5, 30])
def test_paired_t_equals_scipy(n: int, alternative: str) -> None:
    a, b = RNG.normal(size=n), RNG.normal(0.3, 1, size=n)
    got = paired.paired_t(a - b, alternative=alternative)
    want = ss.ttest_rel(a, b, alternative=alternative)
    assert got.p == pytest.approx(want.pvalue, **EXACT)
    both = ss.ttest_rel(a, b).confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((both.low, both.high), **EXACT)


def test_paired_t_without_spread_is_certain_and_of_one_pair_is_unknown() -> None:
    assert paired.paired_t(np.full(5, 0.25)).p == 0.0
    assert paired.paired_t(np.zeros(5)).p == 1.0
    assert paired.paired_t(np.full(5, 0.25), null=0.5, alternative="greater").p == 1.0
    assert np.isnan(paired.paired_t(np.array([1.0])).p)


def test_rounding_noise_is_not_a_difference() -> None:
    a = np.array([0.1 + 0.2, 1.1 + 2.2, 1e6 + 1e-7])
    assert paired.differences(a, np.array([0.3, 3.3, 1e6])).tolist() == [0, 0, 0]


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("n", [5, 8, 25, 50])
def test_wilcoxon_equals_scipy_exact(n: int, alternative: str) -> None:
    d = RNG.normal(0.3, 1, n)
    want = ss.wilcoxon(d, alternative=alternative, method="exact")
    assert paired.wilcoxon(d, alternative=alternative).p == pytest.approx(want.pvalue, **EXACT)


@given(st.lists(st.integers(-4, 4), min_size=3, max_size=9).filter(any))
@settings(max_examples=60, deadline=None)
def test_wilcoxon_with_ties_equals_enumeration_of_all_signs(d: list[int]) -> None:
    x = np.array([value for value in d if value], dtype=float)
    ranks = ss.rankdata(np.abs(x))
    signs = np.array(np.meshgrid(*[[0, 1]] * len(x))).reshape(len(x), -1).T
    sums, seen = signs @ ranks, ranks[x > 0].sum()
    want = min(1.0, 2 * min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean()))
    assert paired.wilcoxon(np.array(d, dtype=float)).p == pytest.approx(want, **EXACT)


def test_wilcoxon_normal_approximation_continues_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(5).normal(0.15, 1, 150)
    exact = paired.wilcoxon(d)
    monkeypatch.setattr(paired, "EXACT_RANKS", 100)
    approximate = paired.wilcoxon(d)
    assert approximate.p == pytest.approx(exact.p, rel=0.02)
    assert (approximate.low, approximate.high) == pytest.approx((exact.low, exact.high), abs=0.01)


@pytest.mark.parametrize("n", [6, 9, 15])
def test_hodges_lehmann_interval_is_where_scipy_wilcoxon_does_not_reject(n: int) -> None:
    d = RNG.normal(0.5, 1, n)
    estimate, low, high = paired.hodges_lehmann(d)
    walsh = [(d[i] + d[j]) / 2 for i in range(n) for j in range(i, n)]
    assert estimate == pytest.approx(np.median(walsh), **EXACT)
    for bound, inward in ((low, 1e-9), (high, -1e-9)):
        assert ss.wilcoxon(d - bound - inward, method="exact").pvalue > 0.05
        assert ss.wilcoxon(d - bound + inward, method="exact").pvalue <= 0.05


def test_hodges_lehmann_says_that_five_pairs_reach_no_95_percent_interval() -> None:
    assert paired.hodges_lehmann(np.arange(5.0))[1:] == (-np.inf, np.inf)
    assert np.isfinite(paired.hodges_lehmann(np.arange(6.0))[1:]).all()
    assert paired.wilcoxon(np.arange(1.0, 6.0)).smallest_p == pytest.approx(0.0625)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_sign_flip_equals_scipy_permutation_test_exactly(alternative: str) -> None:
    d = RNG.normal(0.4, 1, 10)
    want = ss.permutation_test((d,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf)
    assert paired.sign_flip(d, alternative=alternative).p == pytest.approx(want.pvalue, rel=1e-9)


def test_sign_flip_monte_carlo_agrees_with_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    d = RNG.normal(0.5, 1, 12)
    exact = paired.sign_flip(d).p
    monkeypatch.setattr(paired, "EXACT_SIGN_FLIPS", 4)
    p = paired.sign_flip(d).p
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 99_999) + 1e-5)


@given(
    arrays(float, st.integers(1, 12), elements=st.integers(-3, 3).map(float)),
    arrays(float, st.integers(1, 12), elements=st.integers(-3, 3).map(float)),
)
@settings(max_examples=60, deadline=None)
def test_a12_equals_mann_whitney_u_and_cliff_follows(a: np.ndarray, b: np.ndarray) -> None:
    u = ss.mannwhitneyu(a, b, method="asymptotic").statistic if len(set(a) | set(b)) > 1 else len(a) * len(b) / 2
    assert effects.a12(a, b) == pytest.approx(u / (len(a) * len(b)), **EXACT)
    assert effects.cliffs_delta(a, b) == pytest.approx(np.sign(a[:, None] - b[None]).mean(), **EXACT)


def test_probability_of_improvement_and_standardised_difference_closed_form() -> None:
    d = np.array([1.0, 0.0, -1.0, 2.0])
    assert effects.probability_of_improvement(d) == 0.625
    assert effects.standardised_difference(d) == pytest.approx(0.5 / np.sqrt(5 / 3), **EXACT)
    assert effects.standardised_difference(np.ones(3)) == np.inf


@given(arrays(float, st.integers(1, 20), elements=st.floats(0, 1)))
@settings(max_examples=60, deadline=None)
@pytest.mark.usefixtures("young_heap")
def test_holm_and_benjamini_hochberg_equal_statsmodels(p: np.ndarray) -> None:
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    assert multiplicity.holm(p) == pytest.approx(multipletests(p, method="holm")[1], **EXACT)
    assert multiplicity.benjamini_hochberg(p) == pytest.approx(ss.false_discovery_control(p), **EXACT)


def test_corrections_do_not_count_tests_that_could_not_be_made() -> None:
    assert multiplicity.holm(np.array([0.01, np.nan, 0.04]))[[0, 2]].tolist() == pytest.approx([0.02, 0.04])


def test_pairwise_t_equals_scipy_pair_by_pair_with_missing_seeds() -> None:
    matrix = RNG.normal(size=(6, 8)) + np.arange(6)[:, None] * 0.4
    matrix[2, 3] = matrix[4, 0] = np.nan
    got = groups.pairwise_t(matrix)
    raw = []
    for i in range(6):
        for j in range(i + 1, 6):
            want = ss.ttest_rel(matrix[i], matrix[j], nan_policy="omit")
            assert got.p[i, j] == got.p[j, i] == pytest.approx(want.pvalue, **EXACT)
            raw.append(want.pvalue)
    assert got.adjusted[np.triu_indices(6, 1)] == pytest.approx(multiplicity.holm(np.array(raw)), **EXACT)
    assert got.n[2, 4] == 6


def test_pairwise_t_of_deterministic_and_single_seed_rows() -> None:
    got = groups.pairwise_t(np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0], [5.0, np.nan, np.nan]]))
    assert (got.p[0, 1], got.p[0, 2]) == (0.0, 1.0)
    assert np.isnan(got.p[0, 3])


def test_equal_differences_of_values_that_vary_are_judged_by_the_spread_of_the_values() -> None:
    coarse = np.array([[0.91, 0.90, 0.95], [0.92, 0.91, 0.96], [0.90, 0.90, 0.90], [0.93, 0.93, 0.93]])
    got = groups.pairwise_t(coarse)
    error = np.sqrt((coarse[0].var(ddof=1) + coarse[1].var(ddof=1)) / 3)
    assert got.p[0, 1] == pytest.approx(2 * ss.t.sf(0.01 / error, 2), **EXACT)
    assert got.p[2, 3] == 0.0  # nothing varies: a deterministic task
    for a, b in ((0, 1), (2, 3), (0, 2)):
        assert paired.between(coarse[a], coarse[b]).p == pytest.approx(got.p[a, b], **EXACT)
    shown = paired.between(coarse[1], coarse[0])
    assert (shown.low, shown.high) == pytest.approx(ss.t.interval(0.95, 2, 0.01, error), **EXACT)
    assert paired.between(coarse[1], coarse[0] - 5).p < 1e-4
    two = paired.between(coarse[3, :2], coarse[2, :2])
    assert np.isnan([two.p, two.low, groups.pairwise_t(coarse[2:, :2]).p[0, 1]]).all()
    far = np.vstack([coarse, coarse + 5])
    assert groups.separated(far)[0].tolist() == (groups.pairwise_t(far).p < 0.05 / 28).tolist()


@given(st.integers(2, 8), st.integers(0, 2**28 - 1))
@settings(max_examples=120, deadline=None)
def test_cliques_are_exactly_the_maximal_cliques_of_networkx(k: int, bits: int) -> None:
    nx = pytest.importorskip("networkx")
    different = np.zeros((k, k), dtype=bool)
    graph = nx.complete_graph(k)
    for at, (i, j) in enumerate(zip(*np.triu_indices(k, 1), strict=True)):
        if bits >> at & 1:
            different[i, j] = different[j, i] = True
            graph.remove_edge(i, j)
    found = groups.cliques(different, np.arange(k))
    assert {frozenset(group) for group in found} == {frozenset(group) for group in nx.find_cliques(graph)}
    shown = groups.letters(found, k)
    for i in range(k):
        for j in range(i):
            assert bool(set(shown[i]) & set(shown[j])) == (not different[i, j])


def test_cliques_beyond_counting_are_given_up() -> None:
    bits = np.random.default_rng(0).random((80, 80)) < 0.3  # tens of thousands of cliques
    assert groups.cliques(np.triu(bits, 1) | np.triu(bits, 1).T, np.arange(80)) == []
    assert groups.letters([], 3) == ["", "", ""]


def test_letters_go_beyond_z() -> None:
    assert groups.letters([[index] for index in range(28)], 28)[25:] == ["z", "aa", "ab"]


def test_separated_is_scipy_with_bonferroni_and_only_misses_what_holm_adds() -> None:
    matrix = RNG.normal(size=(9, 6)) + np.arange(9)[:, None]
    matrix[2, 3] = matrix[5, :5] = np.nan
    different, difference = groups.separated(matrix)
    full = groups.pairwise_t(matrix)
    for i in range(9):
        for j in range(i):
            p = ss.ttest_rel(matrix[i], matrix[j], nan_policy="omit").pvalue
            assert different[i, j] == different[j, i] == bool(p < 0.05 / 36)
            assert difference[i, j] == pytest.approx(full.difference[i, j], nan_ok=True)
    assert (different <= (full.adjusted < 0.05)).all()
