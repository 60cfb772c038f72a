"""Methods that get all data in one call find nothing true on the stack that calls them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tasks.bandit_regret.context_lp import ContextLp, DecisionMethod
from tasks.bandit_regret.imputed_linear import ImputationMethod, ImputedLinear
from tasks.bandit_regret.replay import EstimatorMethod, Replay
from tasks.bandit_regret.replay import Log as ReplayLog

SEEN: set[str] = set()


def look() -> None:
    """Note the names of all locals from here to the task's `run`."""
    SEEN.clear()
    frame = sys._getframe(1)
    while frame := frame.f_back:
        SEEN.update(frame.f_locals)
        if frame.f_code.co_name == "run":
            return


class Estimator(EstimatorMethod, name="looking-estimator"):
    def estimate(self, log: ReplayLog) -> tuple[float, float]:
        look()
        return 0.5, 0.1


class Imputer(ImputationMethod, name="looking-imputer"):
    def fit(self, rows, targets):
        look()
        return np.zeros(rows.shape[1])


class Decider(DecisionMethod, name="looking-decider"):
    def fit(self, decisions):
        look()
        return np.zeros((decisions.programme.matrix.shape[1], decisions.contexts.shape[1]))


@pytest.mark.parametrize(
    ("task", "method", "hidden"),
    [
        (Replay(rows=50), Estimator(), {"truth"}),
        (ImputedLinear(d=10, n=20), Imputer(), {"theta", "loadings", "weights"}),
        (ContextLp(constraints=2, variables=4, rows=20, test=20), Decider(), {"mixing", "costs"}),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_the_truth_is_made_after_the_methods_answer(task, method, hidden: set[str]) -> None:
    task.run(method, 0, None)
    assert "seed" in SEEN  # it did look
    assert not hidden & SEEN
