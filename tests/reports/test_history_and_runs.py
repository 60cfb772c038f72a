"""A method's history over versions and commits, a page per run with its bill, and tracebacks of every failure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats as ss
from sample_ledger import ENVIRONMENT, NOW, Result, fill, method, metric, task, trial_of
from test_compare_and_why import CATALOGUE, LOSS, TASK, rerun, results
from test_pages_and_scale import part

from db.ledger import Ledger
from db.records import Attempt, Catalogue, Environment, Run
from reports.document import Cell, Code, Facts, Table
from reports.history import histories
from reports.questions import Filter
from reports.report import report

PLACE = (TASK, "{}", "{}")


def column(table: object, key: str) -> list[Cell]:
    """The cells of one column of a history."""
    assert isinstance(table, Table)
    at = [one.key for one in table.columns].index(key)
    return [row.cells[at] for row in table.rows]


def test_history_compares_each_commit_with_the_one_before_like_scipy(empty_ledger: Ledger) -> None:
    rerun(empty_ledger, "one", "aaaa1111", "h", results())
    rerun(empty_ledger, "two", "bbbb2222", "h", results(shift=0.05))
    noisy = [dataclasses.replace(r, metrics={**r.metrics, "loss": r.metrics["loss"] + 0.01 * r.seed}) for r in results()]
    rerun(empty_ledger, "three", "cccc3333", "h", noisy)
    found = histories(empty_ledger, {"toy/a": {PLACE}, "toy/b": {PLACE}})
    table = found["toy/b"][0]
    assert isinstance(table, Table)
    assert [cell.text for cell in column(table, "commit")] == ["aaaa1111", "bbbb2222", "cccc3333"]
    assert [cell.value for cell in column(table, "mean")] == pytest.approx(
        [np.mean(LOSS["b"]), np.mean(LOSS["b"]) + 0.05, np.mean(LOSS["b"]) + 0.045]
    )
    first, second, third = column(table, "change")
    assert (first.text, second.value, second.tone) == ("–", pytest.approx(0.05), "bad")
    interval = ss.ttest_rel(LOSS["b"] + 0.01 * np.arange(10), LOSS["b"] + 0.05).confidence_interval()
    assert (third.low, third.high) == pytest.approx((interval.low, interval.high))
    assert len(table.rows[0].trials) == 10
    sql = found["toy/b"][-1].text  # type: ignore[union-attr]
    assert empty_ledger.query(sql).num_rows == 30
    assert found["toy/b"][1].figure.y.rows[0].startswith("v1 on v1, aaaa1111")  # type: ignore[union-attr]


def test_history_follows_versions_and_leaves_out_what_never_changed(empty_ledger: Ledger) -> None:
    fill(empty_ledger, CATALOGUE, results())
    newer = [dataclasses.replace(r, method_version=2, metrics={**r.metrics, "loss": 0.5}) for r in results() if r.method == "toy/a"]
    fill(empty_ledger, CATALOGUE, newer, "second")
    assert list(histories(empty_ledger, {"toy/a": {PLACE}, "toy/b": {PLACE}})) == ["toy/a"]
    section = part(report(empty_ledger), "method-toy-2f-a")
    table = next(block for block in section.blocks if isinstance(block, Table) and block.caption == "History")
    assert [cell.text for cell in column(table, "version")] == ["v1 on v1", "v2 on v1"]
    assert not any(
        isinstance(block, Table) and block.caption == "History" for block in part(report(empty_ledger), "method-toy-2f-b").blocks
    )


def test_history_and_results_show_one_interval_for_one_set_of_values(empty_ledger: Ledger) -> None:
    """A metric with bounds has the interval of its scale in both tables."""
    bounded = dataclasses.replace(metric(TASK, "loss", "lower", primary=True), low=0.0, high=10.0)
    fill(
        empty_ledger,
        Catalogue(tasks=[task(TASK, "Toy", [bounded])], methods=[method("toy/a", "a")]),
        [r for r in results() if r.method == "toy/a"],
    )
    newer = [dataclasses.replace(r, method_version=2) for r in results() if r.method == "toy/a"]
    fill(empty_ledger, Catalogue(), newer, "second")
    tables = {one.caption: one for one in part(report(empty_ledger), "method-toy-2f-a").blocks if isinstance(one, Table)}
    [shown] = column(tables["Results"], "interval")
    assert [cell.text for cell in column(tables["History"], "interval")] == [shown.text] * 2


def test_history_is_narrowed_like_the_report(empty_ledger: Ledger) -> None:
    rerun(empty_ledger, "one", "aaaa1111", "h", results())
    rerun(empty_ledger, "two", "bbbb2222", "h", results(shift=0.05))
    found = histories(empty_ledger, {"toy/b": {PLACE}}, Filter(where=("seed<4",)))
    assert [cell.value for cell in column(found["toy/b"][0], "n")] == [4, 4]
    assert histories(empty_ledger, {"toy/b": {(TASK, '{"other":1}', "{}")}}) == {}


def test_a_run_has_a_page_with_its_bill_its_machines_and_its_suite(empty_ledger: Ledger) -> None:
    rerun(empty_ledger, "one", "aaaa1111", "north", results())
    section = part(report(empty_ledger), "run-one")
    assert section.page
    outcomes = next(block for block in section.blocks if isinstance(block, Facts) and block.items[0][0] == "ok")
    assert outcomes.items == (("ok", "20"),)
    bill, machines = (block for block in section.blocks if isinstance(block, Table))
    assert [[cell.text for cell in row.cells[1:3]] for row in bill.rows] == [["toy/a", "10"], ["toy/b", "10"]]
    assert [row.cells[4].value for row in bill.rows] == [10.0, 10.0]
    assert machines.rows[0].cells[0].text == "north"


def test_every_kind_of_failure_has_its_traceback(empty_ledger: Ledger) -> None:
    name = "toy/t"
    catalogue = Catalogue(tasks=[task(name, "Toy", [metric(name, "loss", "lower", primary=True)])], methods=[method("toy/a", "A")])
    failing = [Result(name, "toy/a", seed, error=error) for seed, error in enumerate(["ValueError: x", "ValueError: x", "KeyError: y"])]
    fill(empty_ledger, catalogue, [*failing, Result(name, "toy/a", 9, {"loss": 1.0})])
    section = part(report(empty_ledger), "failures-page")
    table = section.blocks[0]
    assert isinstance(table, Table)
    assert [(row.cells[3].text, row.cells[4].text) for row in table.rows] == [("2", "0, 1"), ("1", "2")]
    assert table.notes[0] == "3 trials: 3 error."
    codes = [block for block in section.blocks if isinstance(block, Code)]
    assert [("ValueError" in one.text, one.folded) for one in codes] == [(True, False), (False, True)]


def test_a_run_without_attempts_says_why(empty_ledger: Ledger) -> None:
    fill(empty_ledger, CATALOGUE, results())
    empty_ledger.start_run(Run("again", "s", "", "inline", [], 20), ENVIRONMENT)
    empty_ledger.finish_run("again", "complete")
    section = part(report(empty_ledger), "run-again")
    assert any("was done already" in getattr(block, "text", "") for block in section.blocks)


def test_commits_with_other_changes_in_the_work_tree_are_marked(empty_ledger: Ledger) -> None:
    rerun(empty_ledger, "one", "aaaa1111", "h", results())
    dirty = Environment("d" * 64, {**ENVIRONMENT.content, "git": {"commit": "aaaa1111", "dirty": True}})
    again = results()
    empty_ledger.start_run(Run("two", "s", "", "inline", [], len(again)), dirty)
    empty_ledger.record(
        [Attempt(f"two{n}", trial_of(r).key, "two", "ok", NOW, NOW, 1.0, 1.0, "w", dirty.hash, r.metrics) for n, r in enumerate(again)],
        [dirty],
    )
    table = histories(empty_ledger, {"toy/a": {PLACE}})["toy/a"][0]
    assert [cell.text for cell in column(table, "commit")] == ["aaaa1111", "aaaa1111+"]
    assert column(table, "change")[1].text == "none"
