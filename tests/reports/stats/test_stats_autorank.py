"""Friedman, Nemenyi, cliques, paired tests and effect sizes against autorank (Herbold 2020)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from reports.stats import effects, friedman, paired

autorank = pytest.importorskip("autorank", reason="autorank is in the extra dev")
pandas = pytest.importorskip("pandas")


def ranked(values: Mapping[str, np.ndarray], mode: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return autorank.autorank(pandas.DataFrame(values), alpha=0.05, verbose=False, force_mode=mode, order="ascending", **options)


@pytest.mark.parametrize(("tasks", "methods", "apart"), [(8, 3, 0.8), (20, 5, 0.4), (30, 9, 0.2)])
def test_friedman_nemenyi_and_cliques_equal_autorank(tasks: int, methods: int, apart: float) -> None:
    values = np.random.default_rng([tasks, methods]).normal(size=(tasks, methods)) + np.arange(methods) * apart
    names = [f"m{at}" for at in range(methods)]
    want = ranked(dict(zip(names, values.T, strict=True)), "nonparametric")
    assert (want.omnibus, want.posthoc) == ("friedman", "nemenyi")
    got = friedman.friedman(values)
    assert got.mean_ranks == pytest.approx([want.rankdf.meanrank[name] for name in names], rel=1e-9)
    assert got.chi2_p == pytest.approx(want.pvalue, rel=1e-9)
    cd = friedman.critical_difference(methods, tasks)
    assert cd == pytest.approx(want.cd, rel=1e-3)  # autorank interpolates the studentized range
    ranks, order, groups = autorank._util.get_sorted_rank_groups(want, False)
    cliques = [[order[at] for at in range(first, last + 1)] for first, last in groups]
    assert [[names[at] for at in clique] for clique in friedman.rank_cliques(got.mean_ranks, cd)] == cliques
    assert len(ranks) == methods


@pytest.mark.parametrize("n", [6, 12, 25])
def test_paired_tests_equal_autorank_for_two_methods(n: int) -> None:
    rng = np.random.default_rng(n)
    hard = rng.normal(size=n)
    a, b = hard + rng.normal(0, 0.5, n), hard + 0.4 + rng.normal(0, 0.5, n)
    larger, smaller = (a, b) if np.median(a) > np.median(b) else (b, a)
    values = {"a": a, "b": b}
    assert paired.paired_t(a - b).p == pytest.approx(ranked(values, "parametric").pvalue, rel=1e-9)
    one_sided = paired.wilcoxon(larger - smaller, alternative="greater").p
    assert one_sided == pytest.approx(ranked(values, "nonparametric").pvalue, rel=1e-9)


def test_cliff_s_delta_equals_autorank_with_ties() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 6, 15).astype(float), rng.integers(1, 7, 15).astype(float)
    table = ranked({"a": a, "b": b}, "nonparametric", effect_size="cliff_delta").rankdf
    other = table.index[1]
    first, second = (a, b) if other == "b" else (b, a)
    assert effects.cliffs_delta(first, second) == pytest.approx(table.effect_size[other], rel=1e-9)
