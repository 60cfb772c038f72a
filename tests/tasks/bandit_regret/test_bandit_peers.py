"""Agreement with other packages where they are right, and our checks on their defects where they are not. Skipped where one is missing
(extra `peers`; docs/performance.md says how the others are installed)."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.bandits import armed
from kernels.bandits.linalg import squared_widths
from tasks.bandit_regret.estimates import Ridge
from tasks.bandit_regret.methods.tsallis_inf import TsallisInf, tsallis_weights
from tasks.bandit_regret.methods.ucb1 import Ucb1
from tasks.bandit_regret.protocol import ArmedMethod, Draws, Problem
from tasks.bandit_regret.stochastic import Stochastic


@pytest.fixture
def mab():
    return pytest.importorskip("mabwiser.mab", reason="install mabwiser to compare with it")


@pytest.fixture
def smpybandits(monkeypatch):
    import scipy.special

    if not hasattr(scipy.special, "btdtri"):  # SciPy removed it; betaincinv is the same function
        monkeypatch.setattr(scipy.special, "btdtri", scipy.special.betaincinv, raising=False)
    return pytest.importorskip("SMPyBandits.Policies", reason="install SMPyBandits to compare with it")


def test_ucb1_indices_agree_with_mabwiser(mab):
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


def test_kl_ucb_indices_agree_with_smpybandits_within_its_tolerance(smpybandits):
    peer, random = smpybandits.klUCB(4), np.random.default_rng(3)
    peer.startGame()
    for t in range(200):
        peer.getReward(t % 4, float(random.random() < 0.3 + 0.1 * (t % 4)))
    peer.computeAllIndex()
    ours = [armed.kl_upper(total / n, np.log(peer.t) / n) for total, n in zip(peer.rewards, peer.pulls, strict=True)]
    np.testing.assert_allclose(ours, peer.index, atol=1e-4)


def test_optimistic_scores_of_disjoint_ridge_regressions_agree_with_contextualbandits():
    online = pytest.importorskip("contextualbandits.online", reason="install contextualbandits to compare with it")
    random = np.random.default_rng(0)
    rows, arms, rewards = random.standard_normal((60, 4)), np.arange(60) % 3, random.integers(2, size=60).astype(float)
    peer = online.LinUCB(nchoices=3, alpha=1.5, lambda_=2.0, fit_intercept=False, ucb_from_empty=False, beta_prior=None, random_state=1)
    peer.fit(rows, arms, rewards)
    ridges = [Ridge(4, 2.0) for _ in range(3)]
    for x, arm, reward in zip(rows, arms, rewards, strict=True):
        ridges[arm].add(x, reward)
    ours = np.column_stack([rows @ ridge.theta + 1.5 * ridge.widths(rows) for ridge in ridges])
    np.testing.assert_allclose(ours, peer.decision_function(rows), atol=1e-5)  # single precision


def test_our_ridge_widths_expose_mabwisers_linucb_initialisation(mab):
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


def test_our_weights_expose_smpybandits_tsallis_inf_which_ignores_a_bad_arm(smpybandits):
    """Arm 1 always loses, arm 0 never does. The weights must be the root of sum (eta (L - x))^-2 = 1 left of min L; a squared residual that
    is minimised over all x often ends between the losses, where both arms look alike."""
    peer, errors = smpybandits.TsallisInf(2), []
    peer.startGame()
    for t in range(8):
        arm = t % 2
        peer.getReward(arm, float(arm == 0))
        exact = tsallis_weights(peer.cumulative_losses, 2 * peer.eta)
        assert exact.sum() == pytest.approx(1, abs=1e-12)
        errors.append(exact[0] - peer.weights[0])
    assert np.median(errors) > 0.3  # two right solvers agree to 1e-12


def test_the_leaderboards_regret_exposes_it_too(smpybandits):
    """Played by the referee like any third party's policy: well above ours (and above plain Exp3 at longer horizons)."""

    class Borrowed:
        def reset(self, problem, draws):
            self.draws, self.t = draws, 0
            np.random.seed(draws.key % 2**32)
            self.peer = smpybandits.TsallisInf(problem.arms)
            self.peer.startGame()

        def act(self, contexts):
            self.t += 1
            return min(int(np.searchsorted(np.cumsum(self.peer.weights), self.draws.uniform(self.t))), len(self.peer.weights) - 1)

        def update(self, contexts, arm, reward):
            self.peer.getReward(arm, reward)

    class Peer(ArmedMethod, name="smpybandits-tsallis-inf", knowledge=("range",)):
        def policy(self):
            return Borrowed()

    task = Stochastic(arms=8, horizon=3000)
    theirs, ours = (sum(task.run(method, seed, None).metrics["regret"] for seed in range(4)) for method in (Peer(), TsallisInf()))
    assert theirs > 1.25 * ours
