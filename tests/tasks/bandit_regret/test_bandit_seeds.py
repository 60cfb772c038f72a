"""A seed's result is the same bits whatever seeds share its call, in whatever order and on whatever thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tasks.bandit_regret.adversarial import Adversarial
from tasks.bandit_regret.generalized import Glm, HeavyTailedGlm
from tasks.bandit_regret.heteroscedastic import Heteroscedastic
from tasks.bandit_regret.linear import Linear
from tasks.bandit_regret.methods.gloc import Gloc
from tasks.bandit_regret.methods.lints import LinTS
from tasks.bandit_regret.methods.online_ridge import Ftrl
from tasks.bandit_regret.methods.thompson import Thompson
from tasks.bandit_regret.methods.tsallis_inf import TsallisInf
from tasks.bandit_regret.methods.ucb_glm import UcbGlm
from tasks.bandit_regret.methods.weighted_oful import WeightedOful
from tasks.bandit_regret.online_regression import OnlineRegression
from tasks.bandit_regret.stochastic import Stochastic


@pytest.mark.parametrize(
    ("task", "method"),
    [
        (Linear(d=5, arms=10, horizon=1000, gap=None), LinTS()),
        (Heteroscedastic(d=3, arms=5, horizon=500), WeightedOful()),
        (Stochastic(arms=5, horizon=1000), Thompson()),
        (Adversarial(arms=5, horizon=1000), TsallisInf()),
        (Glm(d=3, arms=5, horizon=300, rewards="poisson"), UcbGlm(explore=20)),
        (HeavyTailedGlm(d=3, arms=5, horizon=300), Gloc()),
        (OnlineRegression(d=3, horizon=300, loss="logistic"), Ftrl()),
    ],
    ids=lambda value: value.name,
)
def test_a_seed_is_independent_of_its_company_and_of_threads(task, method):
    together = task.run_seeds(method, [0, 1, 2, 3], None)
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda seed: task.run(method, seed, None), [3, 1, 2, 0]))
    for seed, alone in zip([3, 1, 2, 0], threaded, strict=True):
        np.testing.assert_array_equal(list(together[seed].metrics.values()), list(alone.metrics.values()))
        assert together[seed].curves == alone.curves
    np.testing.assert_array_equal(list(task.run_seeds(method, [2], None)[2].metrics.values()), list(together[2].metrics.values()))
