"""Paper 14's inequality for arbitrarily negative losses: both learners against scipy, the bound itself, and its negative control."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tasks.bandit_regret.methods.simplex_ftrl import BarrierLearner, EntropyFtrl, EntropyLearner, LogBarrierFtrl
from tasks.bandit_regret.negative_losses import NegativeLosses, SimplexMethod
from tasks.errors import InvalidResult


@pytest.mark.parametrize("kind", [BarrierLearner, EntropyLearner])
def test_the_distribution_minimises_the_regularised_losses_by_a_scalar_search(kind):
    rng = np.random.default_rng(0)
    for _ in range(20):
        learner, eta = kind(), 10.0 ** rng.uniform(-1, 0.5)
        learner.reset(2, eta)
        losses = rng.standard_normal(2) * 3
        learner.update(losses)

        def objective(p, losses=losses, eta=eta):
            x = np.array([p, 1 - p])
            return eta * x @ losses + (-np.log(x).sum() if kind is BarrierLearner else x @ np.log(x))

        best = minimize_scalar(objective, bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-10}).x
        assert learner.distribution()[0] == pytest.approx(best, abs=1e-5)


def test_the_refined_inequality_holds_for_the_barrier_and_fails_for_entropy():
    task = NegativeLosses(adversaries=40)
    barrier, entropy = ([task.run(method, seed, None).metrics for seed in range(3)] for method in (LogBarrierFtrl(), EntropyFtrl()))
    assert all(one["excess"] <= 1 and one["violations"] == 0 for one in barrier)
    assert max(one["excess"] for one in entropy) > 100


def test_the_excess_of_a_fixed_distribution_is_the_formula_recounted():
    seen = []

    class Recorder(SimplexMethod, name="recorder"):
        def learner(self):
            return self

        def reset(self, actions, eta):
            seen.clear()

        def distribution(self):
            return np.array([0.7, 0.3])

        def update(self, losses):
            seen.append(losses)

    task = NegativeLosses(actions=2, horizon=30, eta=0.5, adversaries=1)
    excess = task.run(Recorder(), 4, None).metrics["excess"]
    table = np.array(seen)
    played = table @ [0.7, 0.3]
    comparators = [(1 - 1 / 30) * corner + 1 / 60 for corner in np.eye(2)]
    regret = max(played.sum() - (table @ u).sum() for u in comparators)
    penalty = 0.5 * ((table**2) @ [0.7, 0.3]).sum()
    assert excess == pytest.approx((regret - penalty) / (2 * np.log(60) / 0.5))


def test_weights_that_do_not_sum_to_one_are_invalid():
    class Broken(SimplexMethod, name="broken-simplex"):
        def learner(self):
            learner = EntropyLearner()
            learner.distribution = lambda: np.ones(4)
            return learner

    with pytest.raises(InvalidResult, match="round 1"):
        NegativeLosses().run(Broken(), 0, None)
