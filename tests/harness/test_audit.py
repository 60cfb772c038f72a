"""`assay audit` tells apart what repeats, what depends on the worker's past, on the number of threads, and on nothing but chance."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.records import Attempt, Environment, Run
from harness.reproduce import TOLERANCE, Comparison, Numbers, Repetition, audit_row, compare, deviation, repeatable
from tasks.registry import REGISTRY
from tests.harness.test_cli import Shell
from tests.harness.test_scheduler import Bench
from tests.harness.toys import PLUGIN as TOYS
from tests.harness.toys import start_run, toy_plan, toys

PLUGIN = '''
import itertools
import os
from typing import ClassVar

import torch

from tasks.api import Measured, Method, Metric, Task

calls, paths = itertools.count(1), itertools.count(1)


class Habit(Method, family="toy"):
    def value(self) -> float:
        return 1.0


class Steady(Habit, name="steady"):
    pass


class Counting(Habit, name="counting"):
    """Depends on how often this worker ran it."""

    def value(self) -> float:
        return float(next(calls))


class Threads(Habit, name="threads"):
    """Depends on the threads of the worker, by less than the tolerance."""

    def value(self) -> float:
        return 1.0 + 1e-9 * torch.get_num_threads()


class Curvy(Habit, name="curvy"):
    """Ends at the same value on a path that depends on how often this worker ran it."""


class Failing(Habit, name="failing"):
    """Works where nobody repeats it."""

    def value(self) -> float:
        if os.path.exists("broken"):
            raise RuntimeError("no longer")
        return 1.0


class Habits(Task, family="toy", name="habits", accepts=(Habit,), seconds=0.01):
    """What the method says."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("value", "1", "higher", "a number", primary=True),
        Metric("seconds", "s", "lower", "a clock reading"),
        Metric("path", "1", "higher", "a curve", curve="step"),
    )

    def data_fingerprint(self) -> str:
        return "none"

    def run(self, method: Habit, seed: int, context) -> Measured:
        import time

        path = [1.0, next(paths) if isinstance(method, Curvy) else 2.0, 3.0]
        return Measured({"value": method.value(), "seconds": time.perf_counter()}, curves={"path": ([1, 2, 3], path)})
'''


@pytest.fixture
def assay(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_an_audit_finds_what_each_trial_depends_on(assay: Shell) -> None:
    plugin = assay.folder / "habits.py"
    plugin.write_text(PLUGIN)
    tasks = "seeds: 1\ntasks: [{task: toy/habits, methods: [steady, counting, threads, curvy, failing]}]\n"
    done = assay("run", assay.suite(tasks, plugin), "--engine", "process", "--workers", "1")
    assert done.returncode == 0, done.stderr
    (assay.folder / "broken").touch()
    audit = assay("audit", "--trials", "9", "--json")
    assert audit.returncode == 0, audit.stderr
    found = {(method, condition): verdict for method, condition, verdict in assay.rows("SELECT method, condition, verdict FROM audits")}
    conditions = ("other worker", "same worker", "other threads")
    assert len(found) == 15
    assert [found["toy/steady", condition] for condition in conditions] == ["bitwise"] * 3, "clock readings do not count"
    assert [found["toy/counting", condition] for condition in conditions] == ["bitwise", "different", "bitwise"]
    assert [found["toy/threads", condition] for condition in conditions] == ["bitwise", "bitwise", "within tolerance"]
    assert [found["toy/curvy", condition] for condition in conditions] == ["bitwise", "different", "bitwise"]
    assert assay.rows("SELECT DISTINCT metric FROM audits WHERE method = 'toy/curvy' AND deviation > 0") == [("path",)]
    where = "method = 'toy/failing'"
    assert assay.rows(f"SELECT DISTINCT verdict, deviation, metric FROM audits WHERE {where}") == [("different", None, None)]
    assert assay.rows("SELECT DISTINCT metric FROM audits WHERE deviation > 0 AND method <> 'toy/curvy'") == [("value",)]
    saved = json.loads(assay("sql", "--saved", "audits", "-f", "json").stdout)
    counts = {row["condition"]: (row["bitwise"], row["within_tolerance"], row["different"]) for row in saved}
    assert counts == {"other threads": (3, 1, 1), "other worker": (4, 0, 1), "same worker": (2, 0, 3)}
    printed = json.loads(audit.stdout)
    assert {row["condition"]: (row["bitwise"], row["within_tolerance"], row["different"]) for row in printed} == counts


def test_an_audit_that_repeats_nothing_is_no_success(assay: Shell) -> None:
    plugin = assay.folder / "habits.py"
    plugin.write_text(PLUGIN)
    suite = assay.suite("seeds: 1\ntasks: [{task: toy/habits, methods: [steady]}]\n", plugin)
    assert assay("run", suite, "--engine", "inline").returncode == 0
    nothing = assay("audit", "nosuch")
    assert nothing.returncode == 2
    assert "holds no finished trial of a family 'nosuch' that could be repeated" in nothing.stderr
    assert assay.rows("SELECT COUNT(*) FROM runs") == [(1,)]
    plugin.unlink()
    lost = assay("audit", "--json")
    assert (lost.returncode, json.loads(lost.stdout)) == (1, [])


def test_a_repetition_may_take_longer_than_the_tasks_own_limit_if_the_result_did(tmp_path: Path) -> None:
    """The suite had allowed it more."""
    bench = Bench(tmp_path, "inline")
    quick, slow = (planned.trial.key for planned in toys("ok", range(2)))
    plan = toy_plan(toys("ok", range(2)))
    bench.ledger.submit(start_run(bench.ledger), plan.trials)
    bench.ledger.start_run(Run("run-2", "toys", plan.suite_text + f"plugins: [{TOYS}]\n", "test", [], 2), Environment("e" * 64, {}))
    bench.ledger.submit("run-2", plan.trials)
    now = datetime.now(UTC)
    for key, seconds in ((quick, 0.1), (slow, 1000.0)):
        bench.ledger.record([Attempt(key, key, "run-2", "ok", now, now, seconds, 0.1, "w", None, {"score": 1.0})])
    assert repeatable(bench.ledger, REGISTRY, quick).unit.timeout == 20.0
    assert repeatable(bench.ledger, REGISTRY, slow).unit.timeout == 10_000.0
    bench.ledger.close()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.0, 0.0),
        (math.nan, math.nan, 0.0),
        (math.inf, math.inf, 0.0),
        (100.0, 50.0, 0.5),
        (-1.0, 1.0, 2.0),
        (0.0, 1e-9, 1e-6),  # near zero the difference is seen relative to 0.001
        (math.nan, 1.0, math.inf),
        (math.inf, -math.inf, math.inf),
        (1.7e308, -1.7e308, math.inf),
    ],
)
def test_deviation_by_its_closed_form(one: float, other: float, expected: float) -> None:
    assert deviation(one, other) == deviation(other, one) == pytest.approx(expected)


def test_the_largest_deviation_decides_an_audit() -> None:
    again = Repetition("a" * 32, "ok", "", Numbers())
    values = {"steady": (1.0, 1.0, "1"), "worse": (1.0, 1.0 + TOLERANCE / 2, "1"), "slow": (1.0, 9.0, "s")}
    comparisons = [Comparison("t", "toy", "x", name, a, b, compare(a, b, unit)) for name, (a, b, unit) in values.items()]
    row = audit_row("other worker", again, comparisons)
    assert (row.verdict, row.metric, row.deviation) == ("within tolerance", "worse", pytest.approx(TOLERANCE / 2))
    assert audit_row("other worker", again, []).verdict == "bitwise"
