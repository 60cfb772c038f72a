"""Our bandit kernels beside the policies they share with other packages: CPU time per round, same number of arms, in one run.

A peer is asked for an arm and told its reward in a plain Python loop, as its users do. One that is not installed is skipped with a message.
The rules are the same but for what their packages leave no choice in, and there ours do the more work: river's Exp3 has a fixed rate and
changes one weight a round where ours, whose rate falls with t (as SMPyBandits' Exp3Decreasing), takes K exponentials; epsilon-greedy
explores at a fixed rate in river and MABWiser, at c K / t in ours and SMPyBandits.
"""

from __future__ import annotations

import importlib
import random
import statistics
import time

import numpy as np
import pytest

from kernels.bandits import armed, classification
from tasks.bandit_regret.stochastic import Stochastic

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

ARMS, D = 10, 10
LEAST = 100  #: times as many rounds per second as the peer
ROUNDS = 3  #: interleaved repetitions; the median ratio counts
NOTHING = np.empty(0, np.int64)
MEANS = Stochastic(arms=ARMS).environment(0).means[0]
ROWS = np.random.default_rng(0).standard_normal((20_000, D)) / np.sqrt(D)
LABELS = (ROWS @ np.random.default_rng(1).standard_normal((D, ARMS))).argmax(axis=1)


def _package(name):
    if name.startswith("SMPyBandits"):  # it imports a function that SciPy removed; betaincinv is the same function
        import scipy.special

        if not hasattr(scipy.special, "btdtri"):
            scipy.special.btdtri = scipy.special.betaincinv
    return pytest.importorskip(name, reason=f"install {name.split('.')[0]} to compare with it (docs/performance.md says how)")


def _ours(kernel, *params):
    """Seconds per round of one of our K-armed kernels."""
    environment, curve = Stochastic(arms=ARMS, horizon=200_000).environment(0), np.empty(1)

    def run():
        kernel(environment, np.array(params, dtype=float), 7, np.array([200_000]), curve, NOTHING)

    return run, 200_000


def _ours_disjoint(optimism, exploration):
    environment, curve = classification.LabelEnvironment(ROWS, LABELS, ARMS), np.empty(1)

    def run():
        classification.play_disjoint(environment, np.array([1.0, optimism, exploration]), 7, np.array([len(ROWS)]), curve, NOTHING)

    return run, len(ROWS)


OURS = {
    "epsilon-greedy": lambda: _ours(armed.play_greedy, 5.0),
    "UCB1": lambda: _ours(armed.play_ucb1, 0.5),
    "MOSS": lambda: _ours(armed.play_moss, 1.0, 200_000.0),
    "Thompson": lambda: _ours(armed.play_thompson, 0.0, 1.0),
    "Exp3": lambda: _ours(armed.play_exp3, 1.0, 0.0),
    "KL-UCB": lambda: _ours(armed.play_kl_ucb, 0.0),
    "Tsallis-INF": lambda: _ours(armed.play_tsallis, 0.0),
    "LinUCB": lambda: _ours_disjoint(1.0, 0.0),
    "LinGreedy": lambda: _ours_disjoint(0.0, 0.1),
}


def _coin(arm, draws=random.Random(0)):
    return float(draws.random() < MEANS[arm])


def _river(make):
    bandit = _package("river.bandit")

    def run(rounds):
        policy, arms = make(bandit, importlib.import_module("river.proba")), list(range(ARMS))
        for _ in range(rounds):
            arm = policy.pull(arms)
            policy.update(arm, _coin(arm))

    return run


def _river_linear():
    bandit = _package("river.bandit")
    rows = [dict(enumerate(row)) for row in ROWS[:2000].tolist()]

    def run(rounds):
        policy, arms = bandit.LinUCBDisjoint(seed=1), list(range(ARMS))
        for t in range(rounds):
            arm = policy.pull(arms, rows[t])
            policy.update(arm, rows[t], float(arm == LABELS[t]))

    return run


def _smpybandits(name, **options):
    policies = _package("SMPyBandits.Policies")

    def run(rounds):
        policy = getattr(policies, name)(ARMS, **options)
        policy.startGame()
        for _ in range(rounds):
            arm = policy.choice()
            policy.getReward(arm, _coin(arm))

    return run


def _mabwiser(name, **options):
    mab = _package("mabwiser.mab")

    def run(rounds):
        policy = mab.MAB(arms=list(range(ARMS)), learning_policy=getattr(mab.LearningPolicy, name)(**options))
        policy.fit(list(range(ARMS)), [1.0] * ARMS)
        for _ in range(rounds):
            arm = policy.predict()
            policy.partial_fit([arm], [_coin(arm)])

    return run


def _mabwiser_linear(name, **options):
    mab = _package("mabwiser.mab")

    def run(rounds):
        policy = mab.MAB(arms=list(range(ARMS)), learning_policy=getattr(mab.LearningPolicy, name)(**options))
        policy.fit(list(range(ARMS)), [1.0] * ARMS, contexts=ROWS[:ARMS])
        for t in range(rounds):
            arm = policy.predict(ROWS[t : t + 1])
            policy.partial_fit([arm], [float(arm == LABELS[t])], contexts=ROWS[t : t + 1])

    return run


def _contextualbandits():
    online = _package("contextualbandits.online")

    def run(rounds):
        policy = online.LinUCB(nchoices=ARMS, alpha=1.0, random_state=1)
        policy.fit(ROWS[:ARMS], np.arange(ARMS), np.ones(ARMS))
        for t in range(rounds):
            arm = policy.predict(ROWS[t : t + 1])
            policy.partial_fit(ROWS[t : t + 1], arm, np.array([float(arm[0] == LABELS[t])]))

    return run


PEERS = [
    ("epsilon-greedy", "river", lambda: _river(lambda bandit, proba: bandit.EpsilonGreedy(epsilon=0.1, seed=1)), 3000),
    ("epsilon-greedy", "SMPyBandits", lambda: _smpybandits("EpsilonDecreasing", epsilon=50.0), 2000),
    ("epsilon-greedy", "MABWiser", lambda: _mabwiser("EpsilonGreedy", epsilon=0.1), 300),
    ("UCB1", "river", lambda: _river(lambda bandit, proba: bandit.UCB(delta=0.5, seed=1)), 3000),
    ("UCB1", "SMPyBandits", lambda: _smpybandits("UCB"), 2000),
    ("UCB1", "MABWiser", lambda: _mabwiser("UCB1", alpha=0.5), 300),
    ("MOSS", "SMPyBandits", lambda: _smpybandits("MOSSH", horizon=200_000), 2000),
    ("Thompson", "river", lambda: _river(lambda bandit, proba: bandit.ThompsonSampling(proba.Beta(), seed=1)), 3000),
    ("Thompson", "SMPyBandits", lambda: _smpybandits("Thompson"), 2000),
    ("Thompson", "MABWiser", lambda: _mabwiser("ThompsonSampling"), 300),
    ("Exp3", "river", lambda: _river(lambda bandit, proba: bandit.Exp3(gamma=0.1, seed=1)), 3000),
    ("Exp3", "SMPyBandits", lambda: _smpybandits("Exp3Decreasing"), 1000),
    ("KL-UCB", "SMPyBandits", lambda: _smpybandits("klUCB"), 500),
    ("Tsallis-INF", "SMPyBandits", lambda: _smpybandits("TsallisInf"), 300),
    ("LinUCB", "river", _river_linear, 300),
    ("LinUCB", "MABWiser", lambda: _mabwiser_linear("LinUCB", alpha=1.0), 100),
    ("LinUCB", "contextualbandits", _contextualbandits, 200),
    ("LinGreedy", "MABWiser", lambda: _mabwiser_linear("LinGreedy", epsilon=0.1), 100),
]


@pytest.mark.parametrize(("policy", "package", "peer", "rounds"), PEERS, ids=[f"{policy}-{package}" for policy, package, _, _ in PEERS])
def test_a_hundred_times(policy, package, peer, rounds):
    theirs, (ours, count) = peer(), OURS[policy]()
    ours(), theirs(min(rounds, 50))  # compile, load, warm up
    mine, his = [], []
    for _ in range(ROUNDS):
        start = time.thread_time()
        ours()
        middle = time.thread_time()
        theirs(rounds)
        mine.append((middle - start) / count)
        his.append((time.thread_time() - middle) / rounds)
    ratio = statistics.median(b / a for a, b in zip(mine, his, strict=True))
    print(f"\n{policy}: {min(mine) * 1e9:.0f} ns per round, {package} {min(his) * 1e9:.0f}, ratio {ratio:.0f}")
    assert ratio >= LEAST
