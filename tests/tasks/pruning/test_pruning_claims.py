"""Claims name things that exist, and arms that pick exactly one parameter setting."""

from __future__ import annotations

import pytest

from tasks.pruning import claims
from tasks.registry import load, resolve


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_claim_is_complete(claim):
    registry = load(("pruning",))
    task = resolve(registry.task(claim.task), claim.task_params, claim.task)
    assert set(claim.task_params) == set(task.params())
    assert claim.metric in {metric.id for metric in task.metrics if metric.curve is None}
    for arm in (claim.a, claim.b):
        method = resolve(registry.method(arm.method), arm.params, arm.method)
        assert isinstance(method, task.accepts)
        assert dict(arm.params) == method.params()
    assert claim.a != claim.b
