"""Simulations with fixed seeds for every interval and test that people are shown: how often it covers, how often it rejects.

Vectorised: each case is one matrix of (repetitions, seeds). The figures that `reports.stats.caveats` prints beside numbers come from here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from reports.stats import caveats
from reports.stats.groups import pairwise_t
from reports.stats.intervals import FREE, Bounds, bootstrap_interval, median_interval, ratio_interval, t_intervals
from reports.stats.paired import hodges_lehmann, paired_t, sign_flip, wilcoxon
from reports.stats.profiles import FEWEST_FOR_IQM, iqm_interval, iqm_rows

REPEATS = 20_000
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

#: Two methods on the same seeds: what a seed does to both cancels, what is left of each is normal, skewed or heavy-tailed.
PAIRS: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size) - rng.normal(size=size),
    "skewed": lambda rng, size: rng.lognormal(size=size) - rng.lognormal(size=size),
    "one skewed": lambda rng, size: rng.gamma(4, size=size) - 4 + rng.normal(size=size),
    "heavy-tailed": lambda rng, size: rng.standard_t(3, size=size) - rng.standard_t(3, size=size),
}

#: One method's values: draw, mean, the bounds that its metric declares.
VALUES: dict[str, tuple[Draw, float, Bounds]] = {
    "normal": (lambda rng, size: rng.normal(size=size), 0.0, FREE),
    "heavy-tailed": (lambda rng, size: rng.standard_t(3, size=size), 0.0, FREE),
    "accuracy near 1": (lambda rng, size: rng.beta(19, 1, size=size), 0.95, (0.0, 1.0)),
    "accuracy of 50 examples": (lambda rng, size: rng.binomial(50, 0.9, size=size) / 50, 0.9, (0.0, 1.0)),
    "share in the middle": (lambda rng, size: rng.beta(4, 4, size=size), 0.5, (0.0, 1.0)),
    "loss above 0": (lambda rng, size: rng.gamma(4, size=size), 4.0, (0.0, np.inf)),
    "exponential loss": (lambda rng, size: rng.exponential(size=size), 1.0, (0.0, np.inf)),
}


def draw(what: Draw, kind: str, n: int, repeats: int = REPEATS) -> np.ndarray:
    return what(np.random.default_rng([n, *kind.encode()]), (repeats, n))


def coverage(matrix: np.ndarray, truth: float, bounds: Bounds = FREE) -> float:
    table = t_intervals(matrix, bounds=bounds)
    return float(((table.low <= truth) & (truth <= table.high)).mean())


@pytest.mark.parametrize("n", [5, 10, 20, 30])
@pytest.mark.parametrize("kind", PAIRS)
def test_the_interval_of_a_paired_difference_covers_92_to_98_percent(kind: str, n: int) -> None:
    assert 0.92 <= coverage(draw(PAIRS[kind], kind, n), 0.0) <= 0.98


@pytest.mark.parametrize("n", [3, 5, 10, 30])
@pytest.mark.parametrize("kind", VALUES)
def test_the_interval_of_a_mean_covers_92_to_98_percent_within_the_metric_s_bounds(kind: str, n: int) -> None:
    what, truth, bounds = VALUES[kind]
    values = draw(what, kind, n)
    table = t_intervals(values, bounds=bounds)
    assert (table.low >= bounds[0]).all()
    assert (table.high <= bounds[1]).all()
    assert 0.92 <= coverage(values, truth, bounds) <= 0.98


def test_plain_t_intervals_near_a_bound_leave_it_and_cover_less() -> None:
    """Why bounded metrics get another scale."""
    what, truth, bounds = VALUES["accuracy near 1"]
    values = draw(what, "plain", 5)
    plain = t_intervals(values)
    assert (plain.high > 1).mean() > 0.4
    assert coverage(values, truth) < 0.91 < coverage(values, truth, bounds)


def test_the_figures_of_the_skewness_note_are_what_simulation_gives() -> None:
    what, truth, bounds = VALUES["exponential loss"]
    samples = [draw(what, "note", n) for n in (5, 30)]
    plain, bounded = ([coverage(values, truth, where) for values in samples] for where in (FREE, bounds))
    assert [round(100 * share) for share in plain] == [88, 93]
    assert [round(100 * share) for share in bounded] == [93, 94]
    assert "88 to 93 %" in caveats.skew_note(samples[0][:60])
    assert "93 to 94 %" in caveats.skew_note(samples[0][:60], bounds)


@pytest.mark.parametrize("n", [5, 10, 30])
def test_the_skewness_note_comes_with_skewed_values_and_not_with_symmetric_ones(n: int) -> None:
    def share(what: Draw) -> float:
        found = [caveats.skewed(draw(what, f"{n} {at}", n, 12)) for at in range(200)]
        return float(np.mean(found))

    assert share(lambda rng, size: rng.exponential(size=size)) > (0.3 if n == 5 else 0.9)
    assert share(lambda rng, size: rng.normal(size=size)) < 0.02
    assert share(lambda rng, size: rng.standard_t(3, size=size)) < 0.12


def test_the_figures_of_the_note_on_few_seeds_are_what_simulation_gives() -> None:
    """Between 3 and 7 % is what the tests promise; where they don't hold it, the note beside the numbers says so."""
    for n in range(2, 11):
        rates = [100 * (1 - coverage(draw(PAIRS[kind], "few" + kind, n, 200_000), 0.0)) for kind in PAIRS]
        assert (min(rates) >= 3 and max(rates) <= 7) or n in caveats.FEW_T
        if n in caveats.FEW_T:
            assert (min(rates), max(rates)) == pytest.approx(caveats.FEW_T[n], abs=0.25)
            assert f"reject {caveats.FEW_T[n][0]:g} to {caveats.FEW_T[n][1]:g} %" in caveats.few_t(n)
    assert (caveats.few_t(1), caveats.few_t(9)) == ("", "")


@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy-tailed"])
def test_hodges_lehmann_intervals_cover_92_to_98_percent_from_eight_pairs_on_and_are_unbounded_at_five(kind: str) -> None:
    for n in (8, 20, 30):
        ends = [hodges_lehmann(row)[1:] for row in draw(PAIRS[kind], kind, n, 2000)]
        assert 0.92 <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.98
    assert all(hodges_lehmann(row)[1:] == (-np.inf, np.inf) for row in draw(PAIRS[kind], kind, 5, 5))


@pytest.mark.parametrize("n", [6, 10, 20, 30])
def test_median_intervals_cover_at_least_94_percent_whatever_the_values_look_like(n: int) -> None:
    """Order statistics jump from one level to the next, so the level is reached or exceeded, never met: up to 99.9 % at the smallest n."""
    truths = {"normal": 0.0, "heavy-tailed": 0.0, "exponential loss": np.log(2)}
    for kind, truth in truths.items():
        found = [median_interval(row) for row in draw(VALUES[kind][0], kind, n, 3000)]
        assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.94


def middle_half(what: Draw) -> float:
    values = np.sort(what(np.random.default_rng(1), (1, 400_000))[0])
    return float(values[100_000:300_000].mean())


@pytest.mark.parametrize("kind", ["normal", "heavy-tailed", "loss above 0", "exponential loss"])
def test_bootstrap_intervals_of_the_iqm_cover_90_to_98_percent_where_the_reports_show_them(kind: str) -> None:
    truth = middle_half(VALUES[kind][0])
    for n in (FEWEST_FOR_IQM, 20):
        found = [iqm_interval(row) for row in draw(VALUES[kind][0], "iqm" + kind, n, 400)]
        assert 0.90 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.98  # 400 repetitions: 1.1 points of noise
    five = draw(VALUES[kind][0], "iqm" + kind, 5, 400)
    assert all(np.isnan(iqm_interval(row).low) for row in five[:3])
    rough = [bootstrap_interval(row, iqm_rows, draws=499, method="percentile") for row in five]
    assert np.mean([one.low <= truth <= one.high for one in rough]) < 0.93


def test_no_bootstrap_interval_of_a_standard_deviation_holds_its_level() -> None:
    """Why the column sd has none: 30 to 90 % instead of 95 %."""
    rates = []
    for what, truth in ((VALUES["normal"][0], 1.0), (lambda rng, size: rng.lognormal(size=size), np.sqrt((np.e - 1) * np.e))):
        for n in (5, 30):
            rows = draw(what, "sd", n, 200)
            found = [bootstrap_interval(row, lambda x: np.std(x, axis=-1, ddof=1), draws=499, method="bca") for row in rows]
            rates.append(np.mean([one.low <= truth <= one.high for one in found]))
    assert min(rates) < 0.45
    assert max(rates) < 0.94


@pytest.mark.parametrize("n", [5, 10, 20, 30])
@pytest.mark.parametrize("kind", PAIRS)
def test_pairwise_t_tests_reject_true_nulls_3_to_7_percent_of_the_time(kind: str, n: int) -> None:
    d = draw(PAIRS[kind], kind, n, 2000)
    p = np.array([pairwise_t(np.stack([row, np.zeros(n)])).p[0, 1] for row in d[:50]])
    table = t_intervals(d)
    outside = (table.low > 0) | (table.high < 0)
    assert ((p < 0.05) == outside[:50]).all()  # the test and the interval say the same, so the intervals' rate is the test's
    wide = t_intervals(draw(PAIRS[kind], kind, n))
    rate = float(((wide.low > 0) | (wide.high < 0)).mean())
    assert (0.03 if kind != "skewed" or n >= 10 else 0.02) <= rate <= 0.07  # below .03 the note on few seeds says so


@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy-tailed"])
@pytest.mark.parametrize(("n", "low"), [(5, 0.0), (8, 0.03), (20, 0.03)])
def test_sign_flips_and_wilcoxon_reject_symmetric_nulls_at_most_7_percent_of_the_time(kind: str, n: int, low: float) -> None:
    """With five pairs their two-sided p is never below .0625, so they never reject: the report says so (`caveats.few_pairs`)."""
    rows = draw(PAIRS[kind], kind, n, 1200 if n < 20 else 300)
    rates = [np.mean([wilcoxon(row).p <= 0.05 for row in rows])]
    if n < 20:
        rates.append(np.mean([sign_flip(row).p <= 0.05 for row in rows]))
    for rate in rates:
        assert low - 0.01 <= rate <= 0.075
    assert ("nothing at 5 %" in caveats.few_pairs(n)) == (n == 5)
    if n == 5:
        assert rates == [0.0, 0.0]


@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy-tailed"])
def test_one_sided_tests_behind_claims_reject_at_most_7_percent_with_five_seeds(kind: str) -> None:
    rows = draw(PAIRS[kind], kind, 5, 4000)
    both = [paired_t(row, alternative="greater").p <= 0.05 and sign_flip(row, alternative="greater").p <= 0.05 for row in rows[:2000]]
    assert 0.01 <= np.mean(both) <= 0.07


@pytest.mark.parametrize("n", [5, 10, 30])
def test_fieller_s_interval_of_a_ratio_covers_92_to_98_percent(n: int) -> None:
    rng = np.random.default_rng([n, 5])
    hits = 0
    for _ in range(2000):
        hard = rng.normal(0, 0.3, n)
        found = ratio_interval(2 + hard + rng.normal(0, 0.3, n), 1 + hard + rng.normal(0, 0.3, n))
        hits += found.low <= 2 <= found.high
    assert 0.92 <= hits / 2000 <= 0.98


def test_fieller_s_interval_holds_the_ratios_that_a_t_test_does_not_reject() -> None:
    rng = np.random.default_rng(3)
    a, b = 2 + rng.normal(0, 0.3, 8), 1 + rng.normal(0, 0.2, 8)
    found = ratio_interval(a, b)
    for end in (found.low, found.high):
        assert paired_t(a - end * b).p == pytest.approx(0.05, abs=1e-9)
    vague = ratio_interval(a, b - b.mean() + 0.001)
    assert (vague.low, vague.high) == (-np.inf, np.inf)
    assert np.isnan(ratio_interval(a, np.zeros(8)).value)


@pytest.mark.parametrize(("n", "least"), [(5, 0.75), (10, 0.85), (30, 0.91)])
def test_bootstrap_intervals_of_a_mean_cover_less_than_t_with_few_seeds(n: int, least: float) -> None:
    """Why the reports show none with few seeds: about 82 % at 5 seeds and 90 % at 10, where t covers 95 %."""
    rng = np.random.default_rng([n, 6])
    samples = [rng.normal(size=n) for _ in range(400)]
    hits = np.mean([got.low <= 0 <= got.high for got in (bootstrap_interval(x, draws=499, seed=at) for at, x in enumerate(samples))])
    assert least <= hits <= (0.90 if n == 5 else 0.93 if n == 10 else 0.98)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 6, 8, 10, 15, 20, 30])
@pytest.mark.parametrize("kind", PAIRS)
def test_large_simulation_of_intervals_and_tests(kind: str, n: int) -> None:
    """The same with 200,000 repetitions and margins of Monte-Carlo error only; prints the table of docs/reports.md (-s)."""
    found = coverage(draw(PAIRS[kind], "large" + kind, n, 200_000), 0.0)
    rows = draw(PAIRS[kind], kind, n, 4000)
    ranks = np.mean([wilcoxon(row).p <= 0.05 for row in rows])
    flips = np.mean([sign_flip(row, draws=1999).p <= 0.05 for row in rows[: 4000 if n <= 10 else 400]])
    print(f"| {kind} | {n} | {100 * found:.1f} % | {100 * (1 - found):.1f} % | {100 * ranks:.1f} % | {100 * flips:.1f} % |")
    assert 0.92 <= found <= 0.98
    noise = 2.6 * np.sqrt(0.05 * 0.95 / 400)  # of the rarest simulation, sign flips
    assert max(ranks - 0.07, flips - 0.07 - noise) <= 0
    assert min(ranks - 0.03, flips - 0.03 + noise) >= 0 or "nothing at 5 %" in caveats.few_pairs(n) or n == 6
    assert 1 - found >= 0.03 or "depending on how the values are skewed" in caveats.few_t(n)
