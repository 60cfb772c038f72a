"""K-armed tasks: kernels against readable policies, closed forms, exact enumeration and published effect sizes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from kernels.bandits import adversarial as kernels_adversarial
from kernels.bandits import armed as kernels_armed
from kernels.bandits import armed_environment as world
from kernels.bandits import draws
from tasks.bandit_regret.adversarial import Adversarial
from tasks.bandit_regret.methods.epsilon_greedy import EpsilonGreedy
from tasks.bandit_regret.methods.exp3 import Exp3
from tasks.bandit_regret.methods.exp3_ix import Exp3Ix
from tasks.bandit_regret.methods.kl_ucb import KlUcb, kl_upper
from tasks.bandit_regret.methods.mom_ucb import MomUcb
from tasks.bandit_regret.methods.moss import Moss
from tasks.bandit_regret.methods.oful import Oful
from tasks.bandit_regret.methods.thompson import Thompson
from tasks.bandit_regret.methods.truncated_ucb import TruncatedUcb
from tasks.bandit_regret.methods.tsallis_inf import TsallisInf, tsallis_weights
from tasks.bandit_regret.methods.ucb1 import Ucb1
from tasks.bandit_regret.methods.uniform import Uniform
from tasks.bandit_regret.moments import absolute_moment
from tasks.bandit_regret.referee import checkpoints
from tasks.bandit_regret.stochastic import Stochastic

BOUNDED = [
    Uniform(),
    EpsilonGreedy(c=2),
    Ucb1(),
    Moss(),
    KlUcb(c=1),
    Thompson(),
    Exp3(),
    Exp3Ix(scale=2),
    TsallisInf(),
    TsallisInf(estimator="rv"),
    TruncatedUcb(c=0.1),
    MomUcb(c=0.05),
]
HEAVY = [Ucb1(scale=0.3), Moss(), Thompson(prior="gaussian"), TruncatedUcb(c=0.1), MomUcb(c=0.05), EpsilonGreedy(c=2)]
TASKS = [
    (Stochastic(arms=6, horizon=600), BOUNDED),
    (Stochastic(arms=3, horizon=400, means="linspace"), BOUNDED),
    (Adversarial(arms=4, horizon=500), BOUNDED),
    (Adversarial(arms=4, horizon=500, schedule="swap"), BOUNDED),
    *((Stochastic(arms=4, horizon=500, law=law, tail=1.5), HEAVY) for law in ("gaussian", "student", "pareto", "two_sided_pareto")),
]
TASKS.append((Stochastic(arms=400, horizon=450), [Thompson(), Thompson(prior="gaussian")]))  # one round's draws fill a block
CASES = [(task, method) for task, methods in TASKS for method in methods]


def _compiled(task, method, seed, key=None, environment=None):
    rounds = checkpoints(task.horizon)
    spec = method.compiled(task.problem(method))
    curve, trace = np.empty(len(rounds)), np.empty(task.horizon, np.int64)
    key = task.streams(seed).integer("method") if key is None else key
    environment = task.environment(seed) if environment is None else environment
    used = kernels_armed.KERNELS[spec.kernel](environment, np.array(spec.params, dtype=float), key, rounds, curve, trace)
    return curve, trace, used


@pytest.mark.parametrize(("task", "method"), CASES, ids=[f"{t.name}-{i}-{m.name}" for i, (t, m) in enumerate(CASES)])
def test_kernel_takes_the_decisions_of_the_readable_policy(task, method):
    assert task.infeasible(method) is None
    curve, trace, used = _compiled(task, method, 0)
    play = task.play(method, 0, checkpoints(task.horizon), reference=True)
    np.testing.assert_array_equal(trace, play.trace)
    np.testing.assert_allclose(curve, play.curve, atol=1e-9)
    assert used == play.used


@pytest.mark.parametrize("schedule", ["constrained", "swap"])
def test_adversarial_regret_is_against_the_best_fixed_arm_recounted_from_the_trace(schedule):
    task = Adversarial(arms=5, horizon=3000, schedule=schedule)
    curve, trace, _ = _compiled(task, Exp3(), 1)
    environment = task.environment(1)
    table = np.array([environment.means[np.searchsorted(environment.ends, t) % 2] for t in range(1, 3001)])
    for t, value in zip(checkpoints(3000), curve, strict=True):
        assert value == pytest.approx(table[:t].sum(axis=0).max() - table[np.arange(t), trace[:t]].sum(), abs=1e-8)
    play = task.play(Exp3(), 1, checkpoints(3000), reference=True)
    np.testing.assert_allclose(curve, play.curve, atol=1e-8)


def test_kl_ucb_index_agrees_with_bracketing_to_1e_10():
    for mean in (0.0, 1e-6, 0.1, 0.5, 0.93, 1 - 1e-9, 1.0):
        for level in (1e-8, 1e-3, 0.1, 1.0, 5.0):
            assert kernels_armed.kl_upper(mean, level) == pytest.approx(kl_upper(mean, level), abs=1e-10)


def test_tsallis_weights_agree_with_bracketing_to_1e_12_from_any_start():
    rng = np.random.default_rng(0)
    for _ in range(200):
        losses, eta = rng.exponential(rng.choice([0.1, 10, 1000]), size=rng.integers(2, 40)), 10.0 ** rng.uniform(-3, 1)
        exact, p = tsallis_weights(losses, eta), np.empty(len(losses))
        for start in (0.0, 1.0 / eta, 100.0 / eta):
            kernels_adversarial.tsallis_weights(losses, eta, p, start)
            np.testing.assert_allclose(p, exact, atol=1e-12)


def test_tsallis_weights_are_not_the_mirror_root_that_smpybandits_returns():
    """At L = (0, 1), eta = 2 the law is (.780, .220); SMPyBandits' squared residual also vanishes beyond min L and gives (.220, .780)."""
    p = np.empty(2)
    kernels_adversarial.tsallis_weights(np.array([0.0, 1.0]), 2.0, p, 0.0)
    np.testing.assert_allclose(p, [0.780, 0.220], atol=5e-4)
    mirror = 4 / (2.0 * (np.array([0.0, 1.0]) - (1.0 + (0.5 * 2 / math.sqrt(p[0])) - 0.0))) ** 2
    assert mirror[1] > mirror[0]


def test_exp3_weights_agree_with_softmax():
    rng = np.random.default_rng(1)
    losses, w = rng.exponential(500, size=9), np.empty(9)
    total = kernels_adversarial.exponential_weights(losses, 0.03, w)
    expected = np.exp(-0.03 * losses) / np.exp(-0.03 * losses).sum()
    np.testing.assert_allclose(w / total, expected, rtol=1e-10)
    for u in (1e-12, *rng.uniform(size=50), 1 - 1e-12):
        arm, p = kernels_adversarial.sample_weights(w, total, u)
        assert arm == kernels_adversarial.sample(w / total, u) == np.searchsorted(np.cumsum(w / total)[:-1], u, side="right")
        assert p == w[arm] / total


@pytest.mark.parametrize("reduced", [False, True])
def test_importance_weighted_loss_estimates_are_unbiased(reduced):
    p, eta, losses = np.array([0.5, 0.3, 0.2]), 0.3, np.array([0.9, 0.2, 0.6])
    baseline = 0.5 * (p >= eta**2) if reduced else np.zeros(3)
    arms = np.array([kernels_adversarial.sample(p, draws.uniform(5, t, 0)) for t in range(40_000)])
    estimates = np.tile(baseline, (len(arms), 1))
    estimates[np.arange(len(arms)), arms] += (losses[arms] - baseline[arms]) / p[arms]
    error = estimates.mean(axis=0) - losses
    assert np.all(np.abs(error) < 4 * estimates.std(axis=0) / np.sqrt(len(arms)))


@pytest.mark.parametrize("shape", [0.75, 1.0, 4.5, 200.0])
def test_gamma_and_beta_variates_pass_kolmogorov_smirnov(shape):
    gammas = [draws.gamma(11, t, 0, shape) for t in range(4000)]
    assert stats.kstest(gammas, stats.gamma(shape).cdf).pvalue > 1e-3
    betas = [draws.beta(12, t, 0, shape, 2.5) for t in range(4000)]
    assert stats.kstest(betas, stats.beta(shape, 2.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("law", "tail", "cdf"),
    [
        (world.GAUSSIAN, 3.0, stats.norm.cdf),
        (world.STUDENT, 1.5, stats.t(1.5).cdf),
        (world.STUDENT, 3.0, stats.t(3).cdf),
        (world.PARETO, 1.5, lambda x: stats.pareto(1.5).cdf(x + 3.0)),
        (world.TWO_SIDED_PARETO, 1.5, lambda x: np.where(x > 0, 0.5 + stats.pareto(1.5).cdf(x) / 2, 0.5 - stats.pareto(1.5).cdf(-x) / 2)),
    ],
)
def test_noise_laws_agree_with_scipy(law, tail, cdf):
    sample = [world.centred_noise(law, tail, 77, t) for t in range(5000)]
    assert stats.kstest(sample, cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("law", "tail", "order"), [("student", 1.5, 1.4), ("student", 3, 2), ("gaussian", 3, 2), ("two_sided_pareto", 1.5, 1.4)]
)
def test_moments_told_to_robust_policies_agree_with_quadrature(law, tail, order):
    from scipy.integrate import quad

    density = {"student": stats.t(tail).pdf, "gaussian": stats.norm.pdf, "two_sided_pareto": lambda x: stats.pareto(tail).pdf(x) / 2}[law]
    total = sum(quad(lambda x: 2 * x**order * density(x), a, b, limit=500)[0] for a, b in [(0, 1), (1, 100), (100, 1e4), (1e4, np.inf)])
    assert absolute_moment(law, tail, order) == pytest.approx(total, rel=2e-2)


def _enumerated(policy_scores, means, horizon):
    """Exact expected regret of a deterministic index policy: sums over every reward sequence with its probability."""
    total = 0.0
    for sequence in itertools.product((0, 1), repeat=horizon):
        probability, regret, counts, sums = 1.0, 0.0, np.zeros(len(means)), np.zeros(len(means))
        for t, reward in enumerate(sequence, 1):
            arm = t - 1 if t <= len(means) else policy_scores(sums, counts, t)
            probability *= means[arm] if reward else 1 - means[arm]
            regret += max(means) - means[arm]
            counts[arm] += 1
            sums[arm] += reward
        total += probability * regret
    return total


def test_ucb1_has_the_exact_expected_regret_of_a_tiny_problem_by_enumeration():
    means, horizon = np.array([0.3, 0.8]), 10
    task = Stochastic(arms=2, horizon=horizon)

    def scores(sums, counts, t):
        index = sums / counts + 0.5 * np.sqrt(2 * np.log(t) / counts)
        return int(np.flatnonzero(index >= index.max() - 1e-9)[0])

    exact = _enumerated(scores, means, horizon)
    finals = []
    for key in range(6000):
        environment = world.ArmedEnvironment(world.BERNOULLI, np.stack([means, means]), np.array([horizon]), 1.0, 3.0, key)
        finals.append(_compiled(task, Ucb1(), 0, environment=environment)[0][-1])
    assert abs(np.mean(finals) - exact) < 4 * np.std(finals) / np.sqrt(len(finals))


def _final(task, method, seeds):
    return np.array([task.run(method, seed, None).metrics["regret"] for seed in range(seeds)])


def test_published_effects_stochastic_and_constrained_adversary():
    """Reproduced by independent kernels at K = 8, gap .125, T = 1e5: IW 516 / 561, RV 273 / 285, Exp3 673 / 769, UCB1 282 / 5671."""
    calm, rough = Stochastic(arms=8), Adversarial(arms=8)
    for task, iw, rv, exp3 in ((calm, 516, 273, 673), (rough, 561, 285, 769)):
        for method, expected in ((TsallisInf(), iw), (TsallisInf(estimator="rv"), rv), (Exp3(), exp3)):
            assert _final(task, method, 12).mean() == pytest.approx(expected, rel=0.15)
    assert _final(calm, Ucb1(), 12).mean() == pytest.approx(282, rel=0.15)
    assert _final(rough, Ucb1(), 12).mean() > 4 * _final(rough, TsallisInf(), 12).mean()


def test_each_policy_beats_uniform_play_well_clear_of_the_noise():
    task = Stochastic(arms=6, horizon=20_000)
    floor = _final(task, Uniform(), 5).mean()
    for method in (Ucb1(), Moss(), KlUcb(), Thompson(), Exp3(), Exp3Ix(), TsallisInf(), TsallisInf(estimator="rv")):
        assert _final(task, method, 5).mean() < 0.4 * floor


def test_unbounded_rewards_and_bounded_methods_are_infeasible():
    assert "unbounded" in Stochastic(law="gaussian").infeasible(Exp3())
    assert "prior=gaussian" in Stochastic(law="student").infeasible(Thompson())


def test_linear_methods_are_not_accepted_without_contexts():
    assert not isinstance(Oful(), Stochastic.accepts)
