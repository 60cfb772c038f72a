"""The planner: expansion, identity, filters, fixtures, and what can't run."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.fixtures import FixtureStore
from harness.plan import damaged_fixtures, make_plan
from harness.planned import Plan
from harness.suite import load_suite
from tasks.registry import Registry

PLUGIN = Path(__file__).with_name("plan_plugin.py")


def plan_of(folder: Path, body: str, registry: Registry | None = None) -> Plan:
    path = folder / "suite.yaml"
    path.write_text(f"name: mine\nplugins: [{PLUGIN}]\n{body}")
    return make_plan(load_suite(str(path)), registry or Registry(), None, FixtureStore(folder / "cache"))


def test_expansion_counts_and_order(tmp_path: Path) -> None:
    body = "seeds: 3\ntasks:\n  - {task: toy/add, sweep: {base: [0, 1]}, methods: [two, {method: one, sweep: {step: [1, 2]}}]}\n"
    plan = plan_of(tmp_path, body)
    assert len(plan.trials) == 2 * 3 * 3
    assert [(t.method, t.seed) for t in plan.trials[:4]] == [("toy/two", 0), ("toy/two", 1), ("toy/two", 2), ("toy/one", 0)]
    assert len({trial.key for trial in plan.trials}) == 18


def test_defaults_are_resolved_before_hashing(tmp_path: Path) -> None:
    body = (
        "seeds: 1\ntasks:\n  - {task: toy/add, methods: [one, {method: one, params: {step: 1}}, {method: toy/one, sweep: {step: [1]}}]}\n"
    )
    plan = plan_of(tmp_path, body)
    assert len(plan.trials) == 1, "three spellings of one configuration are one trial"
    assert plan.trials[0].method_params == {"step": 1}


def test_include_and_exclude(tmp_path: Path) -> None:
    body = "seeds: 3\ninclude: [{method: one}]\nexclude: [{params: {step: 2}, seeds: [1, 2]}]\ntasks:\n"
    body += "  - {task: toy/add, methods: [two, {method: one, sweep: {step: [1, 2]}}]}\n"
    plan = plan_of(tmp_path, body)
    assert [(t.method_params["step"], t.seed) for t in plan.trials] == [(1, 0), (1, 1), (1, 2), (2, 0)]


def test_all_methods_that_the_task_accepts(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "seeds: 1\ntasks:\n  - {task: toy/add, methods: all}\n")
    assert {trial.method for trial in plan.trials} == {"toy/one", "toy/two"}


def test_what_cannot_run_is_said_and_left_out(tmp_path: Path) -> None:
    body = "seeds: 2\ntasks:\n  - {task: toy/add, methods: [stranger, {method: one, sweep: {step: [1, 7]}}]}\n"
    plan = plan_of(tmp_path, body)
    reasons = {item.reason for item in plan.infeasible}
    assert reasons == {"toy/add runs methods of the protocol Adder; toy/stranger is none.", "toy/one can't add 7."}
    assert len(plan.trials) == 2


def test_fixtures_are_shared_and_planned_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "seeds: 2\ntasks:\n  - {task: toy/add, sweep: {base: [0, 1]}, methods: [one]}\n")
    assert [fixture.params for fixture in plan.fixtures] == [{"base": 0}, {"base": 1}]
    assert {planned.fixtures for planned in plan.todo} == {(fixture.key,) for fixture in plan.fixtures}
    assert plan.seconds == pytest.approx(4 * 0.01 + 2 * 0.1)


def test_a_damaged_fixture_is_found_before_the_run(tmp_path: Path) -> None:
    registry, body = Registry(), "seeds: 1\ntasks:\n  - {task: toy/add, methods: [one]}\n"
    plan_of(tmp_path, body, registry)
    store, fixture = FixtureStore(tmp_path / "cache"), registry.fixture("toy-base")()
    store.build(fixture, None)  # type: ignore[arg-type]
    (store.folder(fixture) / "base").write_text("999")
    (complaint,) = damaged_fixtures(plan_of(tmp_path, body, registry), registry, store)
    assert "Fixture toy-base is damaged" in complaint
    assert not store.present(fixture)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{task: toy/ad, methods: [one]}", "Unknown task 'toy/ad'; did you mean toy/add?"),
        ("{task: toy/add, methods: [on]}", "Unknown method 'toy/on'; did you mean toy/one"),
        (
            "{task: toy/add, methods: [{method: one, params: {step: 11}}]}",
            "method one: parameter step=11: input should be less than or equal to 10",
        ),
        ("{task: toy/add, methods: [{method: one, params: {stepp: 1}}]}", "method one has no parameter 'stepp'; its parameters are: step"),
        ("{task: toy/add, params: {base: many}, methods: [one]}", "task toy/add: parameter base='many': input should be a valid integer"),
        ("{task: quantization/nothing, methods: [one]}", "Unknown task 'quantization/nothing'"),
    ],
)
def test_wrong_names_and_params_are_one_sentence_with_file_and_line(tmp_path: Path, entry: str, expected: str) -> None:
    with pytest.raises(SuiteError) as caught:
        plan_of(tmp_path, f"tasks:\n  - {entry}\n")
    assert str(caught.value).startswith(f"{tmp_path}/suite.yaml:4: {expected}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "expected"), [("import nothing_of_that_name\n", "ModuleNotFoundError"), (None, "does not exist")])
def test_a_plugin_that_fails_is_named(tmp_path: Path, text: str | None, expected: str) -> None:
    if text is not None:
        (tmp_path / "bad.py").write_text(text)
    (tmp_path / "s.yaml").write_text("name: s\nplugins: [bad.py]\ntasks: [{task: toy/add, methods: [one]}]\n")
    with pytest.raises(SuiteError, match=rf"bad\.py .*{expected}"):
        make_plan(load_suite(str(tmp_path / "s.yaml")), Registry(), None, FixtureStore(tmp_path))


def test_filters_that_leave_nothing_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="leave no trial"):
        plan_of(tmp_path, "exclude: [{}]\ntasks:\n  - {task: toy/add, methods: [one]}\n")


def test_a_wrong_method_names_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"suite\.yaml:7: Unknown method 'toy/on'"):
        plan_of(tmp_path, "tasks:\n  - task: toy/add\n    methods:\n      - one\n      - on\n")


def test_a_suite_that_can_not_run_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no trial of the suite can run: toy/one can't add 7"):
        plan_of(tmp_path, "tasks:\n  - {task: toy/add, methods: [{method: one, params: {step: 7}}]}\n")


def test_the_suite_may_ask_for_the_machine_where_a_clock_is_the_metric(tmp_path: Path) -> None:
    body = "seeds: 1\ntasks:\n  - {task: toy/add, methods: [one]}\n  - {task: toy/add, methods: [two], exclusive: true}\n"
    assert [planned.shape.exclusive for planned in plan_of(tmp_path, body).todo] == [False, True]
