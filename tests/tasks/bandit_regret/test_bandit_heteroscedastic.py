"""Heteroscedastic linear bandits: kernels against readable policies, what variance is worth, and who may see it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kernels.bandits.linear import KERNELS
from kernels.bandits.linear_environment import noise_scale
from tasks.bandit_regret.heteroscedastic import Heteroscedastic
from tasks.bandit_regret.linear import Linear
from tasks.bandit_regret.methods.oful import Oful
from tasks.bandit_regret.methods.variance_levels import VarianceLevels
from tasks.bandit_regret.methods.weighted_oful import WeightedOful
from tasks.bandit_regret.referee import checkpoints

METHODS = [WeightedOful(), WeightedOful(g=0.5, lam=2.0), VarianceLevels(levels=3), Oful(beta=0.7)]


@pytest.mark.parametrize("spread", ["constant", "two_point", "log_uniform"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name}-{METHODS.index(method)}")
def test_kernel_takes_the_decisions_of_the_readable_policy(spread, method):
    task = Heteroscedastic(d=4, arms=6, horizon=400, spread=spread, quiet=0.1, share=0.6)
    rounds, trace = checkpoints(task.horizon), np.empty(task.horizon, np.int64)
    spec, curve = method.compiled(task.problem(method)), np.empty(len(checkpoints(task.horizon)))
    key = task.streams(2).integer("method")
    KERNELS[spec.kernel](task.environment(2), np.array(spec.params, dtype=float), key, rounds, curve, trace)
    play = task.play(method, 2, rounds, reference=True)
    np.testing.assert_array_equal(trace, play.trace)
    np.testing.assert_allclose(curve, play.curve, rtol=1e-12)


def test_equal_variances_make_weighted_oful_oful_bit_for_bit():
    task = Heteroscedastic(d=5, arms=8, horizon=2000, spread="constant")
    plain, weighted = task.run(Oful(beta=1.0), 0, None), task.run(WeightedOful(), 0, None)
    assert plain.curves == weighted.curves


def test_variance_awareness_halves_the_regret_as_published_mixes_did():
    for share, limit in ((0.9, 0.4), (0.1, 0.5)):
        task = Heteroscedastic(horizon=5000, share=share)
        regret = [
            np.mean([task.run(method, seed, None).metrics["regret"] for seed in range(6)]) for method in (WeightedOful(), Oful(beta=1.0))
        ]
        assert regret[0] < limit * regret[1]


def test_noise_scales_follow_their_laws():
    task = Heteroscedastic(spread="log_uniform", quiet=0.02, loud=2.0)
    logs = np.log([noise_scale(task.environment(0), t) for t in range(1, 3001)])
    assert stats.kstest((logs - np.log(0.02)) / np.log(100), "uniform").pvalue > 1e-3
    quiet = np.array([noise_scale(Heteroscedastic(share=0.3).environment(0), t) for t in range(1, 3001)]) == 0.05
    assert abs(quiet.mean() - 0.3) < 0.04


def test_only_the_heteroscedastic_task_reveals_the_noise_and_only_to_those_who_declare_it():
    assert "bandit_regret/heteroscedastic" in Linear().infeasible(WeightedOful())
    assert "noise_scale_per_round" not in Heteroscedastic().problem(Oful()).facts
