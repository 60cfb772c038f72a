"""Agreement with MABWiser where it is right, and our checks on the defect where it is not. Needs the package (extra `peers`)."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.bandits.linalg import squared_widths
from tasks.bandit_regret.estimates import Ridge
from tasks.bandit_regret.methods.ucb1 import Ucb1
from tasks.bandit_regret.protocol import Draws, Problem

mab = pytest.importorskip("mabwiser.mab", reason="install mabwiser to compare with it")


def test_ucb1_indices_agree_with_mabwiser():
    random, arms = np.random.default_rng(0), [0, 1, 2, 3]
    peer, policy = mab.MAB(arms=arms, learning_policy=mab.LearningPolicy.UCB1(alpha=0.5)), Ucb1().policy()
    policy.reset(Problem(4, 0, True, {"noise_scale": 0.5}), Draws(1))
    decisions, rewards = list(random.integers(4, size=200)), list(random.random(200))
    decisions[:4] = arms
    peer.fit(decisions, rewards)
    for arm, reward in zip(decisions, rewards, strict=True):
        policy.update(np.empty((4, 0)), arm, reward)
    # MABWiser counts completed rounds, we count the round to come.
    np.testing.assert_allclose(policy.scores(200), list(peer.predict_expectations().values()), rtol=1e-12)


def test_our_ridge_widths_expose_mabwisers_linucb_initialisation():
    """An arm never played has V = lam I, so its width is |x| / sqrt(lam); MABWiser starts it at V^-1 = lam I and gives sqrt(lam) |x|."""
    lam, x = 10.0, np.array([[0.0, 1.0]])
    peer = mab.MAB(arms=[0, 1], learning_policy=mab.LearningPolicy.LinUCB(alpha=1.0, l2_lambda=lam))
    peer.fit([0], [1.0], contexts=np.array([[1.0, 0.0]]))
    played, untouched = peer.predict_expectations(x).values()
    width, exact = np.empty(1), 1 / np.sqrt(lam)
    squared_widths(np.ascontiguousarray(x.T), np.eye(2) / lam, width)
    assert Ridge(2, lam).widths(x)[0] == pytest.approx(exact)
    assert np.sqrt(width[0]) == pytest.approx(exact)
    assert played == pytest.approx(exact)  # right once the arm has been played
    assert untouched != pytest.approx(exact)
    assert untouched == pytest.approx(np.sqrt(lam))
