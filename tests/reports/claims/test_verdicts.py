"""Verdicts on data whose truth is known: every kind of claim true, false and undecidable; error rates; corrections; provenance."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats as ss
from sample_ledger import Result, claim_row, fill, method, metric, task

from db.ledger import Ledger
from db.records import Catalogue, Curve
from reports.boards import Board, Metric
from reports.claims.definition import parse
from reports.claims.evidence import Material, select
from reports.claims.kinds import KIND_TESTS, noise_floor
from reports.claims.page import explanation, verdict_table
from reports.claims.verdicts import Decision, decide, words
from reports.curves import Curve as CurveMatrix
from reports.errors import BadQuestion, ReportError

TASK = "toy/t"
Values = Mapping[str, Sequence[float]]


def definition(kind: str = "better", id: str = "c", **changes: Any) -> dict[str, Any]:
    base = {
        "id": id,
        "paper": 6,
        "statement": "A beats B.",
        "kind": kind,
        "task": TASK,
        "metric": "loss",
        "a": {"method": "toy/a", "params": {}},
        "b": {"method": "toy/b", "params": {}},
        "task_params": {},
        "effect": "difference",
        "margin": 0.0,
        "min_seeds": 5,
        "control": False,
        "note": "",
        "options": {},
    }
    return base | changes


def material(values: Mapping[str, Values], direction: str = "lower", curves: Mapping[str, Any] | None = None) -> Material:
    """One board; `values[metric]["a"]` are the values of method toy/a, `"a?bits=4"` those of it with params."""
    from reports.boards import Entry

    names = sorted({name for rows in values.values() for name in rows} | set(curves or {}))
    seeds = len(next(iter((*next(iter(values.values())).values(), *((curves or {}).values())))))
    entries = []
    for name in names:
        short, _, query = name.partition("?")
        params = {key: json.loads(text) for key, text in (part.split("=") for part in query.split("&") if part)}
        entries.append(Entry(f"toy/{short}", 1, json.dumps(params), short, query, None, ()))
    matrices = {
        name: np.array([np.asarray(rows.get(row, [np.nan] * seeds), dtype=float) for row in names]) for name, rows in values.items()
    }
    metrics = {name: Metric(name, "", direction if name == "loss" else "lower", "", name == "loss", None) for name in values}
    trials = np.array([[f"{name}-{seed}" for seed in range(seeds)] for name in names], dtype=object)
    states = np.full(trials.shape, "done", dtype=object)
    odd = {name: np.zeros(trials.shape, dtype=bool) for name in values}
    board = Board("toy", TASK, 1, "{}", "Toy", "", "", metrics, entries, list(range(seeds)), trials, states, matrices, odd)
    curve = {}
    if curves:
        steps = np.array([1.0, 10.0, 100.0])
        curve = {board.anchor: {"path": CurveMatrix(steps, np.array([curves.get(name, np.full((seeds, 3), np.nan)) for name in names]))}}
    return Material({TASK: [board]}, curve, {})


def verdict(claim: dict[str, Any], of: Material) -> str:
    found = parse({"claim": claim["id"], "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(claim), "hash": "h"})
    selection = select(found, of)
    outcome = KIND_TESTS[found.kind](selection)
    return words(found, outcome, outcome.p_support, outcome.p_refute, noise_floor(selection, found.arms))[0]


def noisy(mean: float, n: int = 12, sd: float = 0.1, seed: int = 0) -> np.ndarray:
    return mean + sd * np.random.default_rng([seed, n]).normal(size=n)


LINE = definition(
    "line",
    b=None,
    margin=0.9,
    options={"arms": [{"method": f"toy/{x}"} for x in "abcd"], "predicted": "theory", "low": 0.8, "high": 1.25},
)


def along(slope: float, sd: float) -> Material:
    """Four arms predicted at 1, 2, 3 and 4, measured `slope` times as large with some noise."""
    measured = {name: noisy(slope * (at + 1), sd=sd, seed=at) for at, name in enumerate("abcd")}
    return material({"loss": measured, "theory": {name: [at + 1.0] * 12 for at, name in enumerate("abcd")}})


CASES: list[tuple[str, dict[str, Any], Callable[[], Material], str]] = [
    ("better, true", definition(), lambda: material({"loss": {"a": noisy(1), "b": noisy(2, seed=1)}}), "supported"),
    ("better, false", definition(), lambda: material({"loss": {"a": noisy(2), "b": noisy(1, seed=1)}}), "refuted"),
    ("better, no difference", definition(), lambda: material({"loss": {"a": noisy(1), "b": noisy(1, seed=1)}}), "inconclusive"),
    ("better but not by the margin", definition(margin=2.0), lambda: material({"loss": {"a": noisy(1), "b": noisy(2, seed=1)}}), "refuted"),
    ("higher is better", definition(), lambda: material({"loss": {"a": noisy(2), "b": noisy(1, seed=1)}}, "higher"), "supported"),
    ("too few seeds", definition(min_seeds=5), lambda: material({"loss": {"a": [1.0] * 4, "b": [2.0] * 4}}), "inconclusive"),
    (
        "ratio of .5 against .85",
        definition(effect="ratio", margin=0.85),
        lambda: material({"loss": {"a": noisy(1), "b": noisy(2, seed=1)}}),
        "supported",
    ),
    (
        "ratio of .95 against .85",
        definition(effect="ratio", margin=0.85),
        lambda: material({"loss": {"a": noisy(1.9), "b": noisy(2, seed=1)}}),
        "refuted",
    ),
    (
        "ratio, higher is better, some values negative",
        definition(effect="ratio", margin=1.5),
        lambda: material({"loss": {"a": noisy(4), "b": noisy(0.1, seed=1)}}, "higher"),
        "supported",
    ),
    ("equivalent", definition("equivalent", margin=0.3), lambda: material({"loss": {"a": noisy(1), "b": noisy(1, seed=1)}}), "supported"),
    ("not equivalent", definition("equivalent", margin=0.3), lambda: material({"loss": {"a": noisy(1), "b": noisy(2, seed=1)}}), "refuted"),
    (
        "equivalence needs precision",
        definition("equivalent", margin=0.05),
        lambda: material({"loss": {"a": noisy(1, sd=0.5), "b": noisy(1, sd=0.5, seed=1)}}),
        "inconclusive",
    ),
    (
        "10x smaller at less than 1 % loss",
        definition("ratio", metric="size", margin=0.1, options={"quality": "loss", "within": 0.01, "relative": True}),
        lambda: material(
            {"loss": {"a": noisy(1.001, sd=0.001), "b": noisy(1, sd=0.001, seed=1)}, "size": {"a": [1.0] * 12, "b": [11.0] * 12}}
        ),
        "supported",
    ),
    (
        "10x smaller but 5 % loss",
        definition("ratio", metric="size", margin=0.1, options={"quality": "loss", "within": 0.01, "relative": True}),
        lambda: material(
            {"loss": {"a": noisy(1.05, sd=0.001), "b": noisy(1, sd=0.001, seed=1)}, "size": {"a": [1.0] * 12, "b": [11.0] * 12}}
        ),
        "refuted",
    ),
    (
        "ordering holds",
        definition("ordering", options={"arms": [{"method": f"toy/{x}"} for x in "abc"]}),
        lambda: material({"loss": {"a": noisy(1), "b": noisy(2, seed=1), "c": noisy(3, seed=2)}}),
        "supported",
    ),
    (
        "ordering broken in one place",
        definition("ordering", options={"arms": [{"method": f"toy/{x}"} for x in "abc"]}),
        lambda: material({"loss": {"a": noisy(1), "b": noisy(3, seed=1), "c": noisy(2, seed=2)}}),
        "refuted",
    ),
    ("bound holds", definition("bound", b=None, margin=1.2), lambda: material({"loss": {"a": noisy(1)}}), "supported"),
    ("bound broken", definition("bound", b=None, margin=0.8), lambda: material({"loss": {"a": noisy(1)}}), "refuted"),
    (
        "bound on every seed, one violation",
        definition("bound", b=None, margin=2.0, options={"every": True}),
        lambda: material({"loss": {"a": [1.0, 1.0, 2.1]}}),
        "refuted",
    ),
    (
        "bound on every seed holds",
        definition("bound", b=None, margin=2.0, options={"every": True}),
        lambda: material({"loss": {"a": [1.0, 1.0, 1.9, 1.0, 1.0]}}),
        "supported",
    ),
    (
        "prediction within 5 %",
        definition("prediction", b=None, margin=0.05, effect="ratio", options={"predicted": "theory"}),
        lambda: material({"loss": {"a": noisy(1.01, sd=0.02)}, "theory": {"a": [1.0] * 12}}),
        "supported",
    ),
    (
        "prediction off by a fifth",
        definition("prediction", b=None, margin=0.05, effect="ratio", options={"predicted": 1.0}),
        lambda: material({"loss": {"a": noisy(1.2, sd=0.02)}}),
        "refuted",
    ),
    (
        "prediction within two standard errors of its simulation",
        definition("prediction", b=None, options={"predicted": 1.0, "precision": 0.02}),
        lambda: material({"loss": {"a": noisy(1.01, sd=0.02)}}),
        "supported",
    ),
    (
        "prediction off by more than two standard errors of its simulation",
        definition("prediction", b=None, options={"predicted": 1.0, "precision": 0.02}),
        lambda: material({"loss": {"a": noisy(1.1, sd=0.02)}}),
        "refuted",
    ),
    ("measured along the predicted line", LINE, lambda: along(1.1, 0.02), "supported"),
    ("along a line that is too steep", LINE, lambda: along(1.6, 0.02), "refuted"),
    ("too scattered for a line", LINE, lambda: along(1.1, 2.0), "refuted"),
    ("the scatter lies about where the limit does", LINE, lambda: along(1.1, 0.4), "inconclusive"),
    (
        "slope of a curve",
        definition("slope", b=None, metric="path", options={"low": 0.4, "high": 0.6}),
        lambda: material({"loss": {"a": [1.0] * 6}}, curves={"a": np.outer(noisy(1, 6), [1, 10**0.5, 10])}),
        "supported",
    ),
    (
        "slope of a curve that is linear",
        definition("slope", b=None, metric="path", options={"low": 0.4, "high": 0.6}),
        lambda: material({"loss": {"a": [1.0] * 8}}, curves={"a": np.outer(noisy(1, 8), [1, 10, 100])}),
        "refuted",
    ),
    (
        "slope over a param",
        definition("slope", b=None, options={"x": "n", "scale": "linear", "high": -0.5}),
        lambda: material({"loss": {f"a?n={n}": noisy(10 - n, seed=n) for n in (1, 2, 4)}}),
        "supported",
    ),
    (
        "front dominates",
        definition("front", options={"x": "size"}),
        lambda: material(
            {
                "loss": {"a?b=1": noisy(2), "a?b=2": noisy(1, seed=1), "b?b=1": noisy(3, seed=2), "b?b=2": noisy(2, seed=3)},
                "size": {"a?b=1": [1.0] * 12, "a?b=2": [2.0] * 12, "b?b=1": [1.5] * 12, "b?b=2": [2.5] * 12},
            }
        ),
        "supported",
    ),
    (
        "front crosses",
        definition("front", options={"x": "size"}),
        lambda: material(
            {
                "loss": {"a?b=1": noisy(2), "a?b=2": noisy(1.9, seed=1), "b?b=1": noisy(3, seed=2), "b?b=2": noisy(1, seed=3)},
                "size": {"a?b=1": [1.0] * 12, "a?b=2": [2.0] * 12, "b?b=1": [1.5] * 12, "b?b=2": [2.5] * 12},
            }
        ),
        "refuted",
    ),
    (
        "both arms within the noise floor",
        definition(),
        lambda: material({"loss": {"a": noisy(1), "b": noisy(2, seed=1)}, "loss_null95": {"a": [3.0] * 12, "b": [3.0] * 12}}),
        "inconclusive",
    ),
]


@pytest.mark.parametrize(("claim", "make", "want"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_kind_decides_what_is_true(claim: dict[str, Any], make: Callable[[], Material], want: str) -> None:
    assert verdict(claim, make()) == want


def test_a_statement_about_every_seed_is_checked_not_tested(empty_ledger: Ledger) -> None:
    every = {"kind": "bound", "b": None, "options": {"every": True}}
    put(empty_ledger, [definition(id="holds", margin=2.0, **every), definition(id="broken", margin=1.0, **every)], {"a": [0.5] * 5 + [1.5]})
    found = by_id(decide(empty_ledger, "toy"))
    assert found["holds"].reason == "All 6 seeds satisfy it; a statement about every seed has no test."
    assert found["broken"].reason.startswith("1 of 6 seeds violate it, under toy/t")
    table = verdict_table(list(found.values()))
    keys = [one.key for one in table.columns]
    assert {row.cells[keys.index("p")].text for row in table.rows} == {"–"}
    assert {row.cells[keys.index("test")].text for row in table.rows} == {"every one of 6 seeds"}
    assert "in favour" not in dict(explanation(found["holds"]).blocks[1].items)  # type: ignore[union-attr]


def test_every_verdict_names_its_test_in_the_table() -> None:
    for _, claim, make, _ in CASES:
        found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(claim), "hash": "h"})
        outcome = KIND_TESTS[found.kind](select(found, make()))
        table = verdict_table([Decision(found, "inconclusive", "", outcome)])
        assert dict(zip([one.key for one in table.columns], table.rows[0].cells, strict=True))["test"].text == outcome.test != ""


def test_better_uses_the_paired_t_test_of_scipy() -> None:
    a, b = noisy(1), noisy(1.05, seed=1)
    found = parse(
        {"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(definition(margin=0.01)), "hash": "h"}
    )
    outcome = KIND_TESTS["better"](select(found, material({"loss": {"a": a, "b": b}})))
    assert outcome.p_support == pytest.approx(ss.ttest_1samp(b - a, 0.01, alternative="greater").pvalue, rel=1e-9)
    assert outcome.p_refute == pytest.approx(ss.ttest_1samp(b - a, 0.01, alternative="less").pvalue, rel=1e-9)
    low, high = ss.ttest_rel(a, b).confidence_interval(0.95)
    assert (outcome.low, outcome.high) == pytest.approx((low, high), rel=1e-9)


def test_the_line_is_scipys_regression_through_the_origin() -> None:
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(LINE), "hash": "h"})
    of = along(1.1, 0.3)
    outcome = KIND_TESTS["line"](select(found, of))
    measured = of.boards[TASK][0].values["loss"]
    x = np.arange(1.0, 5.0)
    slopes, explained = [], []
    for y in measured.T:
        [slope], [residual], _, _ = np.linalg.lstsq(x[:, None], y, rcond=None)
        slopes.append(slope)
        explained.append(1 - residual / (np.var(y) * len(y)))
    assert outcome.effect == pytest.approx(np.mean(explained), rel=1e-9)
    assert outcome.detail["slope"] == pytest.approx(np.mean(slopes), rel=1e-9)
    assert outcome.p_support == pytest.approx(
        max(
            ss.ttest_1samp(explained, 0.9, alternative="greater").pvalue,
            ss.ttest_1samp(slopes, 0.8, alternative="greater").pvalue,
            ss.ttest_1samp(slopes, 1.25, alternative="less").pvalue,
        ),
        rel=1e-9,
    )


def test_a_t_test_that_sign_flips_cannot_confirm_with_few_seeds_says_so() -> None:
    claim = definition("equivalent", margin=0.3)
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(claim), "hash": "h"})
    outcome = KIND_TESTS["equivalent"](select(found, material({"loss": {"a": noisy(1, 5), "b": noisy(9, 5, seed=1)}})))
    verdict, reason = words(found, outcome, outcome.p_support, outcome.p_refute)
    assert verdict == "inconclusive"
    assert reason.startswith("The t test alone decides against it")
    assert reason.endswith("sign flips, which must agree at 5%, give p = 0.062 with 5 seeds.")


def test_equivalence_is_the_tost_of_statsmodels() -> None:
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    a, b = noisy(1), noisy(1.02, seed=1)
    claim = definition("equivalent", margin=0.1)
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(claim), "hash": "h"})
    outcome = KIND_TESTS["equivalent"](select(found, material({"loss": {"a": a, "b": b}})))
    assert outcome.p_support == pytest.approx(weightstats.ttost_paired(a, b, -0.1, 0.1)[0], rel=1e-9)


@pytest.mark.parametrize("truth", [0.0, 0.05])
def test_false_verdicts_are_as_rare_as_stated(truth: float) -> None:
    """Without a difference, support errs at most 5 % and refutation at most 1 % of the time; a true claim is hardly ever refuted."""
    rng = np.random.default_rng(17)
    seen = {"supported": 0, "refuted": 0, "inconclusive": 0}
    for _ in range(1200):
        a, b = rng.normal(0, 0.1, 8), truth + rng.normal(0, 0.1, 8)
        seen[verdict(definition(), material({"loss": {"a": a, "b": b}}))] += 1
    if truth == 0:
        assert seen["supported"] / 1200 <= 0.07
        assert 0 < seen["refuted"] / 1200 <= 0.02
    else:
        assert seen["refuted"] / 1200 <= 0.005


def put(ledger: Ledger, definitions: Sequence[Mapping[str, Any]], values: Values, run: str = "run-1") -> None:
    catalogue = Catalogue(
        tasks=[task(TASK, "Toy", [metric(TASK, "loss", "lower", primary=True), metric(TASK, "path", "lower", curve="step")])],
        methods=[method(f"toy/{name}", name) for name in "abc"],
        claims=[claim_row(one, "toy") for one in definitions],
    )
    results = [
        Result(TASK, f"toy/{name}", seed, {"loss": float(value)}, [Curve("path", [1.0, 2.0], [1.0, 2.0])])
        for name, row in values.items()
        for seed, value in enumerate(row)
    ]
    fill(ledger, catalogue, results, run)


def by_id(decisions: Sequence[Decision]) -> dict[str, Decision]:
    return {one.definition.id: one for one in decisions}


def test_verdicts_are_corrected_over_the_family_and_stored_with_their_trials(empty_ledger: Ledger) -> None:
    many = [definition(id=f"c{at}", a={"method": "toy/a"}, b={"method": "toy/b"}) for at in range(30)]
    a, b = noisy(1.0, 8), noisy(1.0, 8, seed=4)
    b += 2.6 * np.std(a - b, ddof=1) / np.sqrt(8) + np.mean(a - b)  # t = 2.6: p = .018 alone, .53 over 30 claims
    put(empty_ledger, many, {"a": a, "b": b})
    decisions = decide(empty_ledger, "toy")
    assert {one.verdict for one in decisions} == {"inconclusive"}
    assert "correction" in decisions[0].reason
    assert decisions[0].p_support == pytest.approx(min(1, 30 * ss.ttest_rel(a, b, alternative="less").pvalue), rel=1e-6)
    empty_ledger.record_verdicts([one.row() for one in decisions])
    row = empty_ledger.query("SELECT verdict, n, trials, test, detail FROM claims WHERE claim = 'c3'").to_pylist()[0]
    assert (row["verdict"], row["n"]) == ("inconclusive", 8)
    keys = set(empty_ledger.query("SELECT trial FROM trials").column(0).to_pylist())
    assert set(json.loads(row["trials"])) == keys
    assert json.loads(row["detail"])["p_support"] < 0.05 < json.loads(row["detail"])["p_support_holm"]


def test_what_nobody_ran_is_not_attempted_and_what_cannot_be_tested_says_why(empty_ledger: Ledger) -> None:
    claims = [
        definition(id="absent", a={"method": "toy/z"}),
        definition(id="elsewhere", task="toy/other"),
        definition(id="hardware", options={"not_testable": "it needs a GPU of a kind we don't have."}),
        definition(id="control", control=True),
        definition(id="apart", b={"method": "toy/c"}),
    ]
    put(empty_ledger, claims, {"a": noisy(1), "b": noisy(2, seed=1)})
    found = by_id(decide(empty_ledger, "toy"))
    assert (found["absent"].verdict, found["absent"].reason) == ("not attempted", "Nobody has run toy/z on Toy yet.")
    assert found["elsewhere"].verdict == "not attempted"
    assert found["hardware"].reason.startswith("Not testable here: it needs a GPU")
    assert found["control"].verdict == "supported"
    assert found["control"].surprising
    assert found["apart"].verdict == "not attempted"


def test_an_edit_after_results_is_a_deviation_that_says_what_changed_and_one_before_them_is_not(empty_ledger: Ledger) -> None:
    early = definition(id="early", task="toy/nobody-ran-it", margin=0.1)
    empty_ledger.write_catalogue(Catalogue(claims=[claim_row(early, "toy")]))
    put(empty_ledger, [definition(id="late"), early | {"margin": 0.2}], {"a": noisy(1), "b": noisy(2, seed=1)})
    empty_ledger.write_catalogue(Catalogue(claims=[claim_row(definition(id="late", margin=0.5), "toy")]))
    decisions = decide(empty_ledger, "toy")
    found = by_id(decisions)
    [late], [before] = found["late"].edits, found["early"].edits
    assert (late.deviation, late.changed, late.trials_before) == (True, "margin 0.0 → 0.5", 24)
    assert (before.deviation, before.changed) == (False, "margin 0.1 → 0.2")
    table = verdict_table(decisions)
    why = {row.cells[0].text: row.cells[-1].text for row in table.rows}
    assert "Deviation: edited on" in why["late"]
    assert "Deviation" not in why["early"]
    assert any("Edited after results of their task were there: 1" in note for note in table.notes)
    assert "before any trial" in " ".join(found["early"].notes)


def test_evidence_against_a_claim_of_another_setting_is_not_reproduced_here_with_both_protocols(empty_ledger: Ledger) -> None:
    setting = "ImageNet, 90 epochs"
    claims = [
        definition(id="plain", task_params={}),
        definition(id="small", options={"setting": setting}),
        definition(id="hardware", options={"not_testable": "it needs a GPU of a kind we don't have."}),
    ]
    put(empty_ledger, claims, {"a": noisy(2), "b": noisy(1, seed=1)})
    found = by_id(decide(empty_ledger, "toy"))
    assert {name: (one.verdict, one.status) for name, one in found.items()} == {
        "plain": ("refuted", "refuted"),
        "small": ("refuted", "not reproduced here"),
        "hardware": ("not attempted", "not testable here"),
    }
    assert all(part in found["small"].reason for part in (TASK, "12 seeds", setting))
    table = verdict_table(list(found.values()))
    assert [row.cells[3].text for row in table.rows] == ["refuted", "not reproduced here", "not testable here"]
    assert "1 refuted, 1 not reproduced here, 1 not testable here" in table.notes[0]
    assert "it needs a GPU" in table.rows[2].cells[-1].text
    empty_ledger.record_verdicts([one.row() for one in found.values()])
    rows = empty_ledger.query("SELECT claim, verdict, detail FROM claims").to_pylist()
    assert {row["claim"]: json.loads(row["detail"])["status"] for row in rows} == {name: one.status for name, one in found.items()}


def test_a_ratio_to_zero_has_no_value_and_says_so_without_a_warning() -> None:
    """The statement A <= margin * B is tested all the same."""
    claim = definition(effect="ratio", margin=0.5)
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(claim), "hash": "h"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = select(found, material({"loss": {"a": noisy(1), "b": [0.0] * 12}}))
        outcome = KIND_TESTS["better"](chosen)
        near = select(found, material({"loss": {"a": noisy(1), "b": noisy(0.001, seed=1)}}))
        vague = KIND_TESTS["better"](near)
    assert np.isnan(outcome.effect)
    assert "is 0, so the ratio A / B has no value" in chosen.notes[-1]
    assert outcome.p_refute < 1e-6
    assert np.isinf(vague.low)
    assert "unbounded" in near.notes[-1]


@pytest.mark.parametrize(("n", "word"), [(4, "nothing at 5 %"), (5, "0.0625, one-sided 0.03125: two-sided, nothing at 5 %")])
def test_few_seeds_are_named_beside_the_verdicts(empty_ledger: Ledger, n: int, word: str) -> None:
    put(empty_ledger, [definition(min_seeds=2)], {"a": noisy(1, n), "b": noisy(2, n, seed=1)})
    [decision] = decide(empty_ledger, "toy")
    assert decision.verdict == ("supported" if n == 5 else "inconclusive")
    assert any(word in note for note in verdict_table([decision]).notes)
    assert word in dict(explanation(decision).blocks[1].items)["few seeds"]  # type: ignore[union-attr]


def test_an_arm_that_matches_several_configurations_is_not_guessed(empty_ledger: Ledger) -> None:
    catalogue = Catalogue(claims=[claim_row(definition(), "toy")])
    results = [Result(TASK, "toy/b", seed, {"loss": 1.0}) for seed in range(5)]
    results += [Result(TASK, "toy/a", seed, {"loss": 1.0}, method_params={"bits": bits}) for seed in range(5) for bits in (2, 3)]
    put(empty_ledger, [], {"c": [1.0]})
    fill(empty_ledger, catalogue, results, "second")
    [decision] = decide(empty_ledger, "toy")
    assert decision.verdict == "inconclusive"
    assert "bits=2; bits=3" in decision.reason


def test_families_without_claims_and_broken_definitions_are_named(empty_ledger: Ledger) -> None:
    with pytest.raises(BadQuestion, match="none yet"):
        decide(empty_ledger, "toy")
    put(empty_ledger, [definition("ratio", options={})], {"a": [1.0] * 5, "b": [1.0] * 5})
    with pytest.raises(ReportError, match="lacks the option 'quality'"):
        decide(empty_ledger, "toy")
    with pytest.raises(ReportError, match="unknown kind 'magic'"):
        parse({"claim": "c", "paper": 1, "family": "f", "statement": "", "definition": json.dumps(definition("magic")), "hash": ""})
