"""Off-policy estimates: unbiasedness against exact values, identities, honest standard errors, and the small Open Bandit Dataset."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tasks.bandit_regret.methods.doubly_robust import DirectMethod, DoublyRobust
from tasks.bandit_regret.methods.inverse_propensity import Ips, Snips
from tasks.bandit_regret.replay import EstimatorMethod, Log, Replay, folder
from tasks.errors import InvalidResult

ESTIMATORS = [Ips(), Snips(), DoublyRobust(), DirectMethod()]


def test_ips_has_the_exact_value_in_expectation_by_enumeration():
    """Two rounds, two actions: every log with its probability."""
    policy, means = np.array([0.3, 0.7]), np.array([0.9, 0.4])
    target = np.tile([0.5, 0.5], (2, 1))
    expected = 0.0
    for actions in itertools.product((0, 1), repeat=2):
        for rewards in itertools.product((0, 1), repeat=2):
            chance = np.prod([policy[a] * (means[a] if r else 1 - means[a]) for a, r in zip(actions, rewards, strict=True)])
            log = Log(np.ones((2, 1)), np.array(actions), np.array(rewards, float), policy[list(actions)], target)
            expected += chance * Ips().estimate(log)[0]
    assert expected == pytest.approx(0.65)


@pytest.mark.parametrize("method", [Ips(), Snips(), DoublyRobust()], ids=lambda method: method.name)
def test_estimates_are_unbiased_and_their_errors_honest_within_monte_carlo_error(method):
    scores = np.array([Replay(rows=2000).run(method, seed, None).metrics["z_score"] for seed in range(150)])
    assert abs(scores.mean()) < 4 / np.sqrt(150)
    assert 0.7 < scores.std() < 1.4


def test_the_doubly_robust_error_is_smaller_and_on_policy_all_agree_with_the_mean():
    errors = {m.name: np.mean([Replay(rows=2000).run(m, seed, None).metrics["relative_error"] for seed in range(40)]) for m in ESTIMATORS}
    assert errors["doubly-robust"] < errors["ips"]
    log, _ = Replay(rows=500, sharpness=0.0).log(0)
    for method in (Ips(), Snips()):
        assert method.estimate(log)[0] == pytest.approx(log.rewards.mean())
    same = Log(log.contexts, log.actions, np.full(500, 0.25), log.propensities, log.target)
    for method in ESTIMATORS:
        assert method.estimate(same)[0] == pytest.approx(0.25)


def test_clipping_bounds_the_weights():
    log = Log(np.ones((2, 1)), np.array([0, 1]), np.ones(2), np.array([1e-6, 1.0]), np.full((2, 2), 0.5))
    assert Ips(clip=2.0).estimate(log)[0] == pytest.approx((2 + 0.5) / 2)


@pytest.mark.skipif(folder() is None, reason="install obp to read its logs")
@pytest.mark.parametrize(("campaign", "items", "clicks"), [("men", 34, 69), ("women", 46, 46), ("all", 80, 42)])
def test_the_open_bandit_dataset_has_its_published_shape_and_plausible_estimates(campaign, items, clicks):
    from tasks.bandit_regret.replay import _campaign

    contexts, actions, rewards, propensities, truth = _campaign(campaign)
    assert (len(rewards), len(set(actions)), rewards.sum()) == (10_000, items, clicks)
    assert contexts.shape == (10_000, 3)
    assert 0 < propensities.min() < propensities.max() < 1
    assert truth == pytest.approx({"men": 0.0046, "women": 0.0046, "all": 0.0038}[campaign])
    for method in (Snips(), DoublyRobust()):
        result = Replay(source=campaign).run(method, 0, None).metrics
        assert 0 < result["estimate"] < 0.03


def test_a_log_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("tasks.bandit_regret.replay.folder", lambda: None)
    assert "pip install obp" in Replay(source="men").infeasible(Ips())


def test_an_estimate_that_is_no_number_is_invalid():
    class Broken(EstimatorMethod, name="broken-estimator"):
        def estimate(self, log):
            return float("nan"), 1.0

    with pytest.raises(InvalidResult, match="positive standard error"):
        Replay(rows=100).run(Broken(), 0, None)
