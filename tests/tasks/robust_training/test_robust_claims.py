"""Claims name things that exist, pin every parameter, and find all their trials in the family's suite."""

from __future__ import annotations

import pytest

from harness.plan import make_plan
from harness.suite import load_suite
from tasks.registry import load, resolve
from tasks.robust_training.claims import CLAIMS


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_claim_is_complete(claim):
    registry = load(["robust_training"])
    task = resolve(registry.task(claim.task), claim.task_params, claim.task)
    assert dict(claim.task_params) == task.params()
    assert claim.metric in {metric.id for metric in task.metrics if metric.curve is None}
    for arm in (claim.a, claim.b):
        if arm is not None:
            method = resolve(registry.method(arm.method), arm.params, arm.method)
            assert isinstance(method, task.accepts)
            assert dict(arm.params) == method.params()
    assert claim.a != claim.b
    assert (claim.b is None) == (claim.kind == "bound")


def test_the_suite_runs_every_trial_that_a_claim_needs(tmp_path):
    from harness.fixtures import FixtureStore

    plan = make_plan(load_suite("robust_training"), load(["robust_training"]), None, FixtureStore(tmp_path))
    planned = [
        (trial.task, trial.task_params, trial.method, trial.method_params, trial.seed) for trial in (item.trial for item in plan.todo)
    ]
    for claim in CLAIMS:
        for arm in (claim.a, claim.b):
            if arm is not None:
                wanted = [(claim.task, dict(claim.task_params), arm.method, dict(arm.params), seed) for seed in range(claim.min_seeds)]
                assert all(trial in planned for trial in wanted), claim.id
