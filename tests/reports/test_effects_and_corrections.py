"""Effect sizes, corrections, front areas and intervals as tables show them, against the statistics they come from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats as ss
from sample_ledger import Result, fill, method, metric, task

from db.ledger import Ledger
from db.records import Catalogue
from harness.cli import main
from reports.across import across_tasks
from reports.boards import Question, load_boards
from reports.compare import compare, comparison_document
from reports.document import Table
from reports.errors import BadQuestion
from reports.leaderboard import board_table, leaderboard
from reports.standings import Standing, standing
from reports.stats.effects import a12

RNG = np.random.default_rng(8)
HARD = RNG.normal(size=12)
VALUES = {name: 5 + HARD + shift + RNG.normal(0, 0.5, 12) for name, shift in (("a", 0.0), ("b", 0.5), ("c", 0.3), ("d", 1.5))}
SIZE = {"a": 4.0, "b": 2.0, "c": 3.0, "d": 1.0}


def put(ledger: Ledger, tasks: int = 1, seeds: int = 12, direction: str = "lower") -> None:
    """Methods a to d on `tasks` toy tasks; lower losses and sizes are better unless `direction` says else."""
    names = [f"calibration/t{at}" for at in range(tasks)]
    metrics = [[metric(name, "loss", direction, primary=True), metric(name, "nll", "lower")] for name in names]
    catalogue = Catalogue(
        tasks=[task(name, name[-2:], declared) for name, declared in zip(names, metrics, strict=True)],
        methods=[method(f"calibration/{name}", name.upper()) for name in VALUES],
    )
    results = [
        Result(name, f"calibration/{key}", seed, {"loss": float(values[seed]) + at, "nll": SIZE[key]})
        for at, name in enumerate(names)
        for key, values in VALUES.items()
        for seed in range(seeds)
    ]
    fill(ledger, catalogue, results)


def board(ledger: Ledger) -> Standing:
    return standing(load_boards(ledger, Question("calibration"))[0])


def column(table: Table, key: str) -> dict[str, object]:
    at, name = ([one.key for one in table.columns].index(wanted) for wanted in (key, "method"))
    return {row.cells[name].text: row.cells[at] for row in table.rows}


@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_effect_sizes_against_a_baseline_equal_mann_whitney_and_paired_closed_forms(empty_ledger: Ledger, direction: str) -> None:
    put(empty_ledger, direction=direction)
    table = board_table(board(empty_ledger), baseline="a", effects=True)
    sign = -1.0 if direction == "lower" else 1.0
    for key in "bcd":
        d = sign * (VALUES[key] - VALUES["a"])
        u = ss.mannwhitneyu(sign * VALUES[key], sign * VALUES["a"]).statistic / 144
        got = {name: column(table, name)[key.upper()].value for name in ("improvement", "a12", "cliff", "dz")}  # type: ignore[attr-defined]
        want = {"improvement": (d > 0).mean(), "a12": u, "cliff": 2 * u - 1, "dz": d.mean() / d.std(ddof=1)}
        assert got == pytest.approx(want, rel=1e-9)
    assert column(table, "a12")["A"].text == "–"  # type: ignore[attr-defined]
    notes = " ".join(table.notes)
    assert "Against a: Mean difference (paired t), paired by seed; * is significant at 5 % (Holm, over the rows)." in notes
    assert "A12 and Cliff's δ all seeds with all" in notes


def test_the_correction_decides_which_differences_are_starred(empty_ledger: Ledger) -> None:
    put(empty_ledger)
    p = {key: ss.ttest_rel(VALUES[key], VALUES["a"]).pvalue for key in "bcd"}
    stars = {}
    for name, adjusted in (("bh", ss.false_discovery_control(list(p.values()))), ("holm", None)):
        table = board_table(board(empty_ledger), baseline="a", correction=name)  # type: ignore[arg-type]
        stars[name] = {key for key in "bcd" if column(table, "versus")[key.upper()].text.endswith("*")}  # type: ignore[attr-defined]
        if adjusted is not None:
            assert stars[name] == {key for key, q in zip(p, adjusted, strict=True) if q < 0.05}
            assert "Benjamini-Hochberg, false discovery rate, over the rows" in " ".join(table.notes)
    assert stars["holm"] <= stars["bh"]
    found = compare(empty_ledger, "a", "b", correction="bh")
    assert "Benjamini-Hochberg" in comparison_document(found).sections[0].blocks[0].text  # type: ignore[union-attr]


def test_compare_shows_a12_of_b_over_a(empty_ledger: Ledger) -> None:
    put(empty_ledger)
    found = compare(empty_ledger, "a", "d", metric="loss")
    [change] = found.changes
    assert change.a12 == pytest.approx(a12(-VALUES["d"], -VALUES["a"]), rel=1e-9)  # lower is better
    table = comparison_document(found).tables()[0]
    [row] = table.rows
    assert row.cells[[one.key for one in table.columns].index("a12")].value == change.a12


def test_front_area_is_the_hypervolume_share_of_a_method_s_own_points(empty_ledger: Ledger) -> None:
    put(empty_ledger)
    table = board_table(board(empty_ledger), columns=["method", "hypervolume"])
    means = {key: values.mean() for key, values in VALUES.items()}
    worst = np.array([max(means.values()), 4.0])
    alone = {key: (worst[0] - means[key]) * (worst[1] - SIZE[key]) for key in VALUES}
    front = sorted((SIZE[key], means[key]) for key in VALUES)
    area, ceiling = 0.0, worst[0]
    for size, mean in front:
        if mean < ceiling:
            area += (worst[1] - size) * (ceiling - mean)
            ceiling = mean
    got = {name: cell.value for name, cell in column(table, "hypervolume").items()}  # type: ignore[attr-defined]
    assert got == pytest.approx({key.upper(): value / area for key, value in alone.items()}, rel=1e-9)
    assert "no interval" in " ".join(table.notes)


def test_every_column_has_an_interval_or_says_why_not(empty_ledger: Ledger) -> None:
    put(empty_ledger)
    table = board_table(board(empty_ledger), columns=["method", "iqm", "sd", "worst"])
    cell = column(table, "iqm")["A"]
    assert cell.low < cell.value < cell.high  # type: ignore[attr-defined]
    assert "[" in cell.text  # type: ignore[attr-defined]
    notes = " ".join(table.notes)
    assert "sd has no interval" in notes
    assert "The worst seed has no interval." in notes
    extras = board_table(board(empty_ledger), all_metrics=True)
    assert all(cell.low is not None for name, cell in column(extras, "nll").items())  # type: ignore[attr-defined]


def test_few_seeds_are_named_under_the_board(empty_ledger: Ledger) -> None:
    put(empty_ledger, seeds=5)
    notes = " ".join(board_table(board(empty_ledger), columns=["method", "iqm"]).notes)
    assert "With 5 seeds t tests find only large effects; at 5 % they reject 2.5 to 5.7 % of true nulls" in notes
    assert "with five they would cover 89 %" in notes
    assert column(board_table(board(empty_ledger), columns=["method", "iqm"]), "iqm")["A"].low is None  # type: ignore[attr-defined]


def test_across_tasks_says_how_often_a_method_beats_the_next(empty_ledger: Ledger) -> None:
    put(empty_ledger, tasks=6)
    ranked = [standing(one) for one in load_boards(empty_ledger, Question("calibration"))]
    table = next(block for block in across_tasks(ranked, "calibration")[0].blocks if isinstance(block, Table))
    beats = column(table, "next")
    order = [row.cells[0].text.lower() for row in table.rows]
    for first, second in itertools.pairwise(order):
        cell = beats[first.upper()]
        assert cell.value == pytest.approx(np.mean(VALUES[first] < VALUES[second]))  # type: ignore[attr-defined]
        assert cell.low is None or cell.low <= cell.value <= cell.high  # type: ignore[attr-defined]
    assert beats[order[-1].upper()].text == "–"  # type: ignore[attr-defined]
    best_p = column(table, "nemenyi")
    assert best_p[order[0].upper()].text == "–"  # type: ignore[attr-defined]
    assert best_p[order[-1].upper()].value < 0.05  # type: ignore[attr-defined]
    assert "whole tasks drawn" in " ".join(table.notes)
    weighted = across_tasks(ranked, "calibration", {"t0": 3.0})[0].blocks[0]
    assert isinstance(weighted, Table)
    assert {cell.text for cell in column(weighted, "next").values()} == {"–"}  # type: ignore[attr-defined]


def test_unpaired_tests_and_unknown_corrections_are_refused(
    empty_ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(empty_ledger)
    asked = ["leaderboard", "calibration", "--db", empty_ledger.url]
    refused = {
        ("--baseline", "a", "--test", "welch"): "welch treats the seeds of two methods as unrelated, but they are paired here",
        ("--baseline", "a", "--test", "Mann-Whitney"): "paired here; choose one of t, wilcoxon, permutation",
        ("--baseline", "a", "--test", "sign"): "Unknown test 'sign'",
        ("--baseline", "a", "--correction", "none"): "Unknown --correction 'none'; choose one of holm, bh",
        ("--effects",): "--effects compares with a baseline",
    }
    for options, sentence in refused.items():
        with pytest.raises(SystemExit) as ended:
            main([*asked, *options])
        assert ended.value.code == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(BadQuestion, match="baseline 'z' has no result"):
        leaderboard("calibration", load_boards(empty_ledger, Question("calibration")), baseline="z", effects=True)
