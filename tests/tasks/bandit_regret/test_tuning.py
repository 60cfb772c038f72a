"""Tuning: one budget for all, its own seeds, a record that can be made again, and a suite that says what the record says."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import yaml

from harness.fixtures import FixtureStore
from harness.plan import make_plan
from harness.suite import load_suite
from tasks.bandit_regret import tune
from tasks.bandit_regret.grids import MOST_CONFIGURATIONS, TUNING_SEEDS, TUNINGS
from tasks.registry import REGISTRY, resolve
from tasks.testing import LocalContext

SUITES = Path(__file__).parents[3] / "harness" / "suites"
RECORDS = json.loads(tune.RECORD.read_text())


def test_every_method_has_the_same_budget():
    for tuning in TUNINGS:
        for name, grid in tuning.methods.items():
            configurations = grid.configurations()
            assert len(configurations) <= MOST_CONFIGURATIONS
            assert len(configurations) > 1 or name == "thompson"  # the beta prior leaves it nothing to tune
            assert all(configurations.count(one) == 1 for one in configurations)
    assert {tuple(one["tuned_at"]["seeds"]) for one in RECORDS} == {TUNING_SEEDS}


def test_the_record_holds_every_problem_and_grid_and_chooses_the_least_score():
    assert len(RECORDS) == sum(len(tuning.methods) for tuning in TUNINGS)
    for tuning in TUNINGS:
        for name, grid in tuning.methods.items():
            (record,) = [r for r in RECORDS if (r["task"], r["task_params"], r["method"]) == (tuning.task, dict(tuning.params), name)]
            assert [one["params"] for one in record["tried"]] == grid.configurations()
            scores = {json.dumps(one["params"]): one["score"] for one in record["tried"] if one["score"] is not None}
            assert scores[json.dumps(record["tuned"])] == min(scores.values())
            half = record["tuned_at"][tuning.size]
            assert half == tune._size(resolve(REGISTRY.task(f"bandit_regret/{tuning.task}"), tuning.params, "task"), tuning.size) // 2


def test_no_tuning_seed_is_reported_and_the_suite_says_what_the_record_says():
    text = (SUITES / "bandit_tuned.yaml").read_text()
    assert text == tune.suite_text(RECORDS)
    suite = yaml.safe_load(text)
    starts = {suite["seeds"]["start"], *(task["seeds"]["start"] for task in suite["tasks"] if "seeds" in task)}
    assert min(starts) > max(TUNING_SEEDS)
    for record in RECORDS:
        (entry,) = [e for e in suite["tasks"] if (e["task"], e["params"]) == (f"bandit_regret/{record['task']}", record["task_params"])]
        (method,) = [m for m in entry["methods"] if m["method"] == record["method"]]
        assert method["zip"][-1] == record["tuned"] or method["zip"][0] == record["tuned"]
        if not isinstance(record["theory"], str):
            assert method["zip"][0] == record["theory"]


def test_the_rows_of_the_suite_are_legal_parameters():
    for record in RECORDS:
        method = REGISTRY.method(record["method"], "bandit_regret")
        task = resolve(REGISTRY.task(f"bandit_regret/{record['task']}"), record["task_params"], record["task"])
        for params in (record["tuned"], record["theory"]):
            assert isinstance(params, str) or task.infeasible(resolve(method, params, record["method"])) is None


def test_every_method_with_parameters_is_tuned_and_has_the_constants_of_its_theory_or_the_reason_why_there_are_none():
    REGISTRY.method("ucb1", "bandit_regret")  # loads the family
    mine = [method for method in REGISTRY.methods.values() if method.family == "bandit_regret"]
    assert {method.name for method in mine if method.model_fields} == {record["method"] for record in RECORDS}
    for record in RECORDS:
        method = REGISTRY.method(record["method"], "bandit_regret")
        task = resolve(REGISTRY.task(f"bandit_regret/{record['task']}"), record["task_params"], record["task"])
        theory, told = tune.theory_of(task, method)
        assert theory == record["theory"] if isinstance(theory, str) else theory.items() <= record["theory"].items()
        assert told == record["told"]


def test_tuned_and_theory_rows_have_the_seeds_of_the_other_rows_of_their_board(tmp_path):
    boards = defaultdict(lambda: defaultdict(set))
    for name in ("bandit_regret", "bandit_tuned"):
        for trial in make_plan(load_suite(name), REGISTRY, None, FixtureStore(tmp_path)).trials:
            boards[trial.task, json.dumps(trial.task_params)][trial.method, json.dumps(trial.method_params)].add(trial.seed)
    for board, rows in boards.items():
        assert len({frozenset(seeds) for seeds in rows.values()}) == 1, board


def test_tuning_again_gives_the_record(tmp_path):
    """The cheapest problems, from scratch: same scores to the last digits, same choice."""
    for tuning, name in [(one, name) for one in TUNINGS if one.task == "context-lp" for name in one.methods][:2]:
        again = tune.tune(tuning, name, LocalContext(tmp_path))
        (record,) = [r for r in RECORDS if (r["task"], r["task_params"], r["method"]) == (tuning.task, dict(tuning.params), name)]
        assert again["tuned"] == record["tuned"]
        for new, old in zip(again["tried"], record["tried"], strict=True):
            assert abs(new["score"] - old["score"]) <= 1e-6 * max(old["score"], 1e-3)


def test_theory_constants_agree_with_hand_computed_ones():
    from math import exp, log, sqrt

    from tasks.bandit_regret.linear import Linear
    from tasks.bandit_regret.methods.ds_oful import DsOful
    from tasks.bandit_regret.methods.lints import LinTS
    from tasks.bandit_regret.methods.ol2m import Ol2m

    task = Linear(d=4, arms=5, horizon=1000, gap=0.5)
    constants = tune.theory_of(task, DsOful)[0]
    i1 = 42 * log(126 * 2 / 0.5) + sqrt(8 * log(100))
    assert abs(constants["gamma"] - 0.5 / (4 * i1)) < 1e-12
    i2 = log(3 / constants["gamma"])
    assert abs(constants["beta"] - (1 + 8 * sqrt(i2) + sqrt(8 * log(100 * (1 + 16 * i2 / constants["gamma"] ** 2))))) < 1e-9
    assert abs(tune.theory_of(task, LinTS)[0]["v"] - sqrt(36 * log(1000 * 100))) < 1e-12
    from tasks.bandit_regret.generalized import Glm, HeavyTailedGlm

    b, kappa = 0.5 / (1 + exp(1)), exp(1) / (1 + exp(1)) ** 2
    radius2 = 9 + (8 / b + 16 / 3) * log(400 * log(101) * 100**2) + 2 / b * 3 * log(1 + kappa * 100 / 6)
    assert abs(tune.theory_of(Glm(d=3, horizon=100), Ol2m)[0]["c"] - sqrt(radius2)) < 1e-9
    assert tune.theory_of(Glm(d=3, horizon=100), Ol2m)[1] == ["horizon", "kappa", "norm_bound", "range"]
    assert tune.theory_of(HeavyTailedGlm(hold=11), Ol2m) == ("the published radius is for rewards in [0, 1]", [])
