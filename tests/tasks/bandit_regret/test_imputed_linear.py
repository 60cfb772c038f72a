"""Zero imputation: the closed-form risk against Monte Carlo, its minimiser against a solver, scikit-learn, and paper 67's two effects."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from tasks.bandit_regret.imputed_linear import ImputationMethod, ImputedLinear, best_coefficients, imputed_risk
from tasks.bandit_regret.methods.imputed_ridge import ImputedRidge
from tasks.bandit_regret.methods.imputed_sgd import ImputedSgd
from tasks.errors import InvalidResult


@pytest.mark.parametrize("keep", [0.3, 0.7, 1.0])
def test_the_risk_formula_of_paper_67_agrees_with_monte_carlo(keep):
    task, rng = ImputedLinear(d=8, rank=3, keep=keep), np.random.default_rng(0)
    loadings, weights, theta = task.world(0)
    t = theta + 0.3 * rng.standard_normal(8)
    hidden = rng.standard_normal((200_000, 3))
    rows = np.where(rng.random((200_000, 8)) < keep, hidden @ loadings.T, 0.0)
    losses = (hidden @ weights - rows @ t) ** 2
    assert abs(losses.mean() - imputed_risk(t, theta, loadings, keep)) < 4 * losses.std() / np.sqrt(len(losses))


@pytest.mark.parametrize("keep", [0.3, 0.7, 1.0])
def test_the_best_coefficients_agree_with_a_dense_solve_and_nothing_beats_them(keep):
    task, rng = ImputedLinear(d=6, rank=2, keep=keep), np.random.default_rng(1)
    loadings, _, theta = task.world(0)
    s = loadings @ loadings.T
    best = best_coefficients(theta, loadings, keep)
    if keep < 1:
        np.testing.assert_allclose(best, np.linalg.solve(keep * s + (1 - keep) * np.diag(np.diag(s)), s @ theta), atol=1e-9)
    least = imputed_risk(best, theta, loadings, keep)
    for _ in range(50):
        assert imputed_risk(best + rng.standard_normal(6) * 10.0 ** rng.uniform(-4, 0), theta, loadings, keep) >= least - 1e-12


def test_ridge_on_zeros_agrees_with_sklearn():
    rng = np.random.default_rng(2)
    for n, d in ((40, 6), (10, 25)):
        rows, targets = rng.standard_normal((n, d)), rng.standard_normal(n)
        peer = Ridge(alpha=0.3 * n, fit_intercept=False).fit(rows, targets)
        np.testing.assert_allclose(ImputedRidge(lam=0.3).fit(rows, targets), peer.coef_, atol=1e-8)
    peer = LinearRegression(fit_intercept=False).fit(rows, targets)  # fewer rows than columns: the solution of least norm
    np.testing.assert_allclose(ImputedRidge().fit(rows, targets), peer.coef_, atol=1e-8)


def test_averaged_sgd_finds_the_solution_of_a_noiseless_problem():
    rng = np.random.default_rng(3)
    rows, truth = rng.standard_normal((20_000, 4)), np.array([1.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(ImputedSgd().fit(rows, rows @ truth), truth, atol=0.02)


def test_imputation_bias_fades_and_sgd_beats_least_squares_in_high_dimension():
    """Measured elsewhere: bias .2473, .0433, .0105, .0022 at d = 10, 50, 200, 1000; at d = 1000, n = 500 SGD .007, least squares .216."""
    bias = [np.mean([ImputedLinear(d=d, n=20).run(ImputedSgd(), s, None).metrics["imputation_bias"] for s in range(4)]) for d in (10, 1000)]
    assert bias[1] < 0.02 * bias[0]
    task = ImputedLinear(d=1000, n=500)
    sgd, least = (np.mean([task.run(m, s, None).metrics["excess_risk"] for s in range(3)]) for m in (ImputedSgd(), ImputedRidge()))
    assert sgd < 0.2 * least


def test_full_observation_has_no_bias():
    assert ImputedLinear(d=20, n=50, keep=1.0).run(ImputedRidge(), 0, None).metrics["imputation_bias"] == pytest.approx(0, abs=1e-20)


def test_coefficients_that_are_not_numbers_are_invalid():
    class Broken(ImputationMethod, name="broken-imputation"):
        def fit(self, rows, targets):
            return np.full(rows.shape[1], np.inf)

    with pytest.raises(InvalidResult, match="20 finite coefficients"):
        ImputedLinear(d=20, n=50).run(Broken(), 0, None)
