"""Adversarial MDPs: dynamic programming by enumeration, the log-barrier law, paper 14's key lemma, and learners against uniform play."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from kernels.bandits.barrier import log_barrier_rows
from tasks.bandit_regret.linear_mdp import EpisodicMethod, LinearMdp, Process, best_value, occupancy, one_hot, value
from tasks.bandit_regret.methods.policy_optimisation import EntropyPo, FtrlLearner, LogBarrierPo, MagnitudeReducedPo, UniformPo
from tasks.errors import InvalidResult


def test_values_and_the_best_policy_agree_with_enumeration():
    rng = np.random.default_rng(0)
    transitions, losses = rng.dirichlet(np.ones(2), size=(3, 2, 2)), rng.random((3, 2, 2))
    values = []
    for choice in itertools.product((0, 1), repeat=6):
        policy = np.eye(2)[np.array(choice).reshape(3, 2)]
        exact = 0.0
        for path in itertools.product((0, 1), repeat=3):  # states of layers 0 (fixed), 1, 2
            if path[0] == 0:
                arms = [choice[2 * h + path[h]] for h in range(3)]
                p = np.prod([transitions[h, path[h], arms[h], path[h + 1]] for h in range(2)])
                exact += p * sum(losses[h, path[h], arms[h]] for h in range(3))
        assert value(transitions, losses, policy) == pytest.approx(exact)
        assert (occupancy(transitions, policy) * losses).sum() == pytest.approx(exact)
        values.append(exact)
    assert best_value(transitions, losses) == pytest.approx(min(values))


def _barrier(losses, eta):
    p = np.empty((1, len(losses)))
    log_barrier_rows(losses[None], eta, p)
    return p[0]


def test_the_log_barrier_law_satisfies_its_kkt_conditions():
    rng = np.random.default_rng(1)
    for _ in range(100):
        losses, eta = rng.standard_normal(rng.integers(2, 9)) * 10.0 ** rng.uniform(-2, 5), 10.0 ** rng.uniform(-3, 1)
        p = _barrier(losses, eta)
        assert p.sum() == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(1 / p - eta * losses, (1 / p - eta * losses)[0], rtol=1e-6, atol=1e-6 * eta * np.abs(losses).max())


def test_paper_14_lemma_holds_for_arbitrarily_negative_losses_and_fails_for_entropy():
    """sum <x_t - u, l_t> <= K ln T / eta + eta sum_t sum_i x_{t,i} l_{t,i}^2 with u smoothed by 1/T: 60 random adversaries."""
    rng, horizon, k, eta = np.random.default_rng(2), 200, 3, 0.1
    worst = 0.0
    for _ in range(60):
        cumulative, regret, penalty = np.zeros(k), np.zeros(k), 0.0
        for _ in range(horizon):
            x = _barrier(cumulative, eta)
            losses = rng.standard_normal(k) * np.where(rng.random(k) < 0.1, -100, 1)
            regret += x @ losses - losses
            penalty += x @ losses**2
            cumulative += losses
        smooth = (1 - k / horizon) * regret.max() + (1 / horizon) * regret.sum()
        bound = k * np.log(horizon) / eta
        worst = max(worst, (smooth - eta * penalty) / bound)
    assert worst <= 1
    # Entropy: one huge negative loss moves all weight at once, and the analogue with ln(K)/eta fails.
    x = np.array([1e-6, 1 - 1e-6])
    losses, after = np.array([-1e3, 0.0]), np.array([1e-6 * np.exp(eta * 1e3), 1 - 1e-6])
    after /= after.sum()
    assert (x - after) @ losses > eta * (x @ losses**2) + np.log(2) / eta


def test_importance_weighted_losses_are_unbiased():
    rng = np.random.default_rng(3)
    transitions, table = rng.dirichlet(np.ones(2), size=(2, 2, 2)), rng.random((2, 2, 2))
    policy = 0.5 * rng.dirichlet(np.ones(2), size=(2, 2)) + 0.25
    from tasks.bandit_regret.linear_mdp import _episode

    learner = FtrlLearner("uniform", 1.0, 1e-9, 0.0)
    learner.reset(Process(transitions, one_hot(2, 2, 2), 100))
    learner.p = policy
    runs = 30_000
    for _ in range(runs):
        learner.update(*_episode(transitions, table, policy, rng.random((2, 2)), rng.random(2)))
    last = (policy[1] * table[1]).sum(axis=1)
    exact = np.stack([table[0] + transitions[0] @ last, table[1]])
    seen = occupancy(transitions, policy) > 0.02
    assert seen.sum() >= 4
    np.testing.assert_allclose((learner.losses / runs)[seen], exact[seen], atol=0.06)


def test_reduced_estimates_have_the_exact_q_in_expectation_and_keep_the_bound_that_plain_ones_break():
    """Paper 14: Q(s,a) >= -H |phi(s,a)|_{Sigma^-1}. All pairs of each layer with their probabilities, loss-to-go at its mean, then at H."""
    task = LinearMdp(layers=3, states=4, actions=3, features="simplex", dimension=4)
    transitions, tables, features = task.world(0)
    policy = np.random.default_rng(1).dirichlet(np.ones(3), size=(3, 4))
    reach = occupancy(transitions, policy).reshape(3, 12)
    q, future = np.empty((3, 4, 3)), np.zeros(4)
    for h in (2, 1, 0):
        q[h] = tables[0][h] + transitions[h] @ future
        future = (policy[h] * q[h]).sum(axis=1)
    phi, lowest = features.reshape(3, 12, 4), {}
    g = phi @ np.linalg.inv((phi * reach[:, :, None]).transpose(0, 2, 1) @ phi + 1e-12 * np.eye(4)) @ phi.transpose(0, 2, 1)
    for reduced in (False, True):
        learner = FtrlLearner("entropy", 1.0, 0.0, 0.0, reduced)
        mean, lowest[reduced] = np.zeros((3, 12)), np.full((3, 12), np.inf)
        for pair in range(12):
            played, layers = np.full(3, pair), np.arange(3)
            mean += reach[:, [pair]] * learner.estimate(g, reach, layers, played, q.reshape(3, 12)[:, pair])
            lowest[reduced] = np.minimum(lowest[reduced], learner.estimate(g, reach, layers, played, np.full(3, 3.0)))
        np.testing.assert_allclose(mean[1:], q.reshape(3, 12)[1:], atol=1e-6)  # in layer 0 one state alone is reached
    bound = -3 * np.sqrt(np.diagonal(g, axis1=1, axis2=2))
    assert (lowest[True] >= bound - 1e-9)[1:].all()
    assert (lowest[False] < bound)[1:].any()


def test_with_one_hot_features_nothing_is_reduced():
    task = LinearMdp(episodes=200)
    assert task.run(MagnitudeReducedPo(), 0, None).metrics == pytest.approx(task.run(EntropyPo(), 0, None).metrics, rel=1e-9)


def test_both_learners_leave_uniform_play_behind_and_grow_sublinearly():
    task = LinearMdp(episodes=3000)
    regret = {type(m).__name__: task.run(m, 0, None).metrics for m in (LogBarrierPo(), EntropyPo(), UniformPo())}
    for name in ("LogBarrierPo", "EntropyPo"):
        assert regret[name]["regret"] < 0.8 * regret["UniformPo"]["regret"]
    assert regret["UniformPo"]["regret"] > 0
    task = LinearMdp(episodes=3000, features="simplex")
    assert task.run(MagnitudeReducedPo(scale=3.0), 0, None).metrics["regret"] < 0.8 * task.run(UniformPo(), 0, None).metrics["regret"]


def test_an_illegal_policy_is_invalid():
    class Silly(EpisodicMethod, name="silly-po"):
        def learner(self):
            learner = FtrlLearner("uniform", 1.0, 1.0, 0.0)
            learner.policy = lambda: np.full((4, 4, 4), 0.3)
            return learner

    with pytest.raises(InvalidResult, match="episode 1"):
        LinearMdp(episodes=10).run(Silly(), 0, None)


@pytest.mark.parametrize("losses", ["stochastic", "cyclic"])
def test_a_learner_that_reads_the_losses_off_the_stack_is_caught(losses: str):
    class Peeking(FtrlLearner):
        def policy(self):
            tables = sys._getframe(1).f_locals["tables"]
            return np.eye(4)[tables.mean(axis=0).argmin(axis=-1)]

    class Cheat(EpisodicMethod, name="cheat-po"):
        def learner(self):
            return Peeking("uniform", 1.0, 1.0, 0.0)

    with pytest.raises(InvalidResult, match=r"in episode 1: .* not shown"):
        LinearMdp(episodes=50, losses=losses).run(Cheat(), 0, None)
