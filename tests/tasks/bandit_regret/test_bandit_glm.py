"""Generalized linear bandits: kernels against readable policies, the projection's KKT conditions, what heavy tails do."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.bandits import glm, likelihood, links
from tasks.bandit_regret.generalized import Glm, HeavyTailedGlm, smallest_slope
from tasks.bandit_regret.likelihood import maximise_likelihood
from tasks.bandit_regret.methods.crmm import Crmm
from tasks.bandit_regret.methods.crtm import Crtm
from tasks.bandit_regret.methods.glm_ucb import GlmUcb
from tasks.bandit_regret.methods.gloc import Gloc
from tasks.bandit_regret.methods.menu import Menu
from tasks.bandit_regret.methods.ol2m import Ol2m
from tasks.bandit_regret.methods.tofu import Tofu
from tasks.bandit_regret.methods.ucb_glm import UcbGlm
from tasks.bandit_regret.methods.uniform import Uniform
from tasks.bandit_regret.newton import project
from tasks.bandit_regret.protocol import Draws, Problem
from tasks.bandit_regret.referee import checkpoints

SMALL = {"d": 4, "arms": 6, "horizon": 600}
CASES = [
    (Glm(**SMALL, norm=2.0), Ol2m(c=0.5)),
    (Glm(**SMALL, norm=0.3), Gloc(c=0.5)),
    (HeavyTailedGlm(**SMALL, arm_set="orthant"), Ol2m(projection="euclidean")),
    (HeavyTailedGlm(**SMALL, arm_set="orthant", link="identity"), Ol2m(lam=0.5)),
    (HeavyTailedGlm(**SMALL, law="pareto"), Crtm(g=0.05, c=0.3)),
    (HeavyTailedGlm(**SMALL, hold=5, law="two_sided_pareto"), Crmm(plays=5, c=0.3)),
    (HeavyTailedGlm(**SMALL, hold=4), Crmm(plays=4, c=0.3)),
    (HeavyTailedGlm(**SMALL, law="gaussian"), Uniform()),
    (Glm(**SMALL, norm=2.0), GlmUcb(c=0.3)),
    (Glm(**SMALL, norm=3.0), UcbGlm(c=0.3, explore=20)),
    *((Glm(**SMALL, rewards="poisson"), method) for method in (Ol2m(c=0.5), Gloc(c=0.5), GlmUcb(c=0.3), UcbGlm(c=0.3, explore=20))),
    (HeavyTailedGlm(**SMALL, law="gaussian", arm_set="orthant"), GlmUcb(c=0.5, lam=0.3)),
    (HeavyTailedGlm(**SMALL, hold=5, link="identity"), Menu(plays=5)),
    (HeavyTailedGlm(d=4, arms=6, horizon=200, link="identity"), Tofu(c=0.05)),
]


@pytest.mark.parametrize(("task", "method"), CASES, ids=[f"{task.name}-{method.name}-{i}" for i, (task, method) in enumerate(CASES)])
def test_kernel_takes_the_decisions_of_the_readable_policy(task, method):
    assert task.infeasible(method) is None
    rounds, trace = checkpoints(task.horizon), np.empty(task.horizon, np.int64)
    spec, curve = method.compiled(task.problem(method)), np.empty(len(checkpoints(task.horizon)))
    key = task.streams(1).integer("method")
    used = glm.KERNELS[spec.kernel](task.environment(1), np.array(spec.params, dtype=float), key, rounds, curve, trace)
    play = task.play(method, 1, rounds, reference=True)
    np.testing.assert_array_equal(trace, play.trace)
    np.testing.assert_allclose(curve, play.curve, rtol=1e-10)
    assert used == play.used


def test_projection_in_the_gram_norm_satisfies_its_kkt_conditions():
    rng = np.random.default_rng(0)
    for _ in range(100):
        d = int(rng.integers(2, 8))
        root = rng.standard_normal((d, d)) * 10.0 ** rng.uniform(-2, 2, size=d)
        gram, theta, norm = root @ root.T + 1e-3 * np.eye(d), rng.standard_normal(d) * 5, 10.0 ** rng.uniform(-1, 0)
        theta *= max(1.0, 1.5 * norm / np.linalg.norm(theta))  # outside the ball
        ours = theta.copy()
        glm.project(gram, ours, norm, glm.GRAM)
        np.testing.assert_allclose(ours, project(gram, theta, norm, "gram"), rtol=1e-6, atol=1e-9)
        assert np.linalg.norm(ours) == pytest.approx(norm, rel=1e-9)
        pull = gram @ (theta - ours)  # stationarity: the gradient points along the constraint's normal
        assert pull @ ours / np.linalg.norm(pull) / norm == pytest.approx(1, abs=1e-6)
        for other in rng.standard_normal((20, d)):
            other *= norm * rng.uniform() / np.linalg.norm(other)
            assert (theta - ours) @ gram @ (theta - ours) <= (theta - other) @ gram @ (theta - other) + 1e-9


def test_the_logistic_link_and_its_smallest_slope_agree_with_scipy():
    from scipy.special import expit

    scores = np.linspace(-40, 40, 161)
    np.testing.assert_allclose([links.mean_of(links.LOGISTIC, s) for s in scores], expit(scores), rtol=1e-12, atol=1e-16)
    assert smallest_slope("logistic", 2.0) == pytest.approx(expit(2.0) * expit(-2.0))


def _regret(task, method, seeds=4):
    return np.mean([task.run(method, seed, None).metrics["regret"] for seed in range(seeds)])


def test_counts_have_the_mean_and_variance_of_scipys_poisson_and_its_smallest_slope():
    from scipy import stats

    from kernels.bandits.draws import poisson

    for mean in (0.3, 1.0, 2.7):
        law = stats.poisson(mean)
        quantiles = np.array([law.cdf(k) - law.pmf(k) / 2 for k in range(8)])
        assert [poisson(u, mean) for u in quantiles] == list(range(8))
    task = Glm(d=3, arms=2, horizon=4000, rewards="poisson", norm=1.0)
    assert smallest_slope("poisson", 1.0) == pytest.approx(np.exp(-1.0))
    regret = {m.name: task.run(m, 0, None).metrics["regret"] for m in (Uniform(), Ol2m(c=1.0), UcbGlm(c=1.0))}
    assert max(regret["ol2m"], regret["ucb-glm"]) < 0.3 * regret["uniform"]


def test_medians_survive_symmetric_heavy_tails_and_fail_on_asymmetric_ones():
    """Measured at T = 5e4 elsewhere: Student-t(1.5) OL2M 5346, CRMM 1470; centred Pareto(1.5) CRMM slope 1."""
    symmetric, skewed = HeavyTailedGlm(hold=11), HeavyTailedGlm(hold=11, law="pareto")
    assert _regret(symmetric, Crmm()) < 0.6 * _regret(symmetric, Ol2m())
    assert _regret(skewed, Crmm()) > 0.9 * _regret(skewed, Uniform())


def test_repeated_plays_need_contexts_that_stay():
    assert "set hold to a multiple of 11" in HeavyTailedGlm().infeasible(Crmm())


def test_the_likelihood_estimate_agrees_with_scipy_on_every_link():
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    rows = rng.standard_normal((60, 3))
    for link, targets in (
        ("identity", rng.standard_normal(60)),
        ("logistic", rng.integers(0, 2, 60).astype(float)),
        ("logistic", 3 * rng.standard_normal(60)),
        ("poisson", rng.poisson(1.5, 60).astype(float)),
    ):
        number = links.LINKS[link]

        def objective(theta, number=number, targets=targets):
            scores = rows @ theta
            potential = {links.IDENTITY: scores**2 / 2, links.LOGISTIC: np.logaddexp(0, scores), links.POISSON: np.exp(scores)}[number]
            return 0.25 * theta @ theta + np.sum(potential - targets * scores)

        exact = minimize(objective, np.zeros(3), tol=1e-12).x
        compiled = np.zeros(3)
        likelihood.maximise_likelihood(rows, targets, 60, number, 0.5, compiled)
        np.testing.assert_allclose(compiled, exact, atol=1e-5)
        np.testing.assert_allclose(maximise_likelihood(rows, targets, link, 0.5, np.zeros(3)), compiled, atol=1e-8)
        assert objective(compiled) <= objective(exact) + 1e-9


def test_tofu_without_truncation_and_menu_without_repeats_are_ridge_regression():
    """Levels beyond every reward leave least squares; one play per epoch leaves one estimate, whose median distance is 0."""
    rng, contexts = np.random.default_rng(5), np.random.default_rng(6).standard_normal((4, 3))
    problem = Problem(4, 3, False, {"moment_order": 2.0, "moment_bound": 1e12, "central_moment_bound": 1.0, "horizon": 50.0})
    for policy in (Tofu().policy(), Menu(plays=1).policy()):
        policy.reset(problem, Draws(1))
        gram, moments = np.eye(3), np.zeros(3)
        for _ in range(30):
            arm, reward = policy.act(contexts), float(rng.standard_normal())
            policy.update(contexts, arm, reward)
            gram += np.outer(contexts[arm], contexts[arm])
            moments += reward * contexts[arm]
            np.testing.assert_allclose(policy.theta, np.linalg.solve(gram, moments), atol=1e-9)


def test_policies_for_linear_rewards_are_infeasible_elsewhere_and_say_why():
    assert "set link to identity" in HeavyTailedGlm(hold=11).infeasible(Menu())
    assert "set horizon to 20000 or less" in HeavyTailedGlm(link="identity", horizon=30_000).infeasible(Tofu())
