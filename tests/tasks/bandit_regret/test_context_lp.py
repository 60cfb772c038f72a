"""Contextual LP: HiGHS and duality as oracles, a perfect and a broken predictor, what learning from decisions is worth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from tasks.bandit_regret.context_lp import ContextLp, DecisionMethod, Decisions, reduced_costs
from tasks.bandit_regret.methods.cost_regression import CostRegression
from tasks.bandit_regret.methods.optimality_margin import OptimalityMargin
from tasks.bandit_regret.methods.spo_plus import SpoPlus
from tasks.errors import InvalidResult


def test_enumerated_vertices_agree_with_highs():
    rng = np.random.default_rng(0)
    for seed in range(3):
        programme = ContextLp().programme(seed)
        np.testing.assert_allclose(programme.vertices @ programme.matrix.T, np.tile(programme.bound, (len(programme.bases), 1)), atol=1e-9)
        for _ in range(10):
            costs = rng.standard_normal(10)
            peer = linprog(costs, A_eq=programme.matrix, b_eq=programme.bound, bounds=(0, None), method="highs")
            assert costs @ programme.vertices[programme.solve(costs[None])[0]] == pytest.approx(peer.fun, abs=1e-8)


def test_reduced_costs_are_nonnegative_exactly_where_the_vertex_is_optimal():
    programme, rng = ContextLp().programme(1), np.random.default_rng(1)
    tables = reduced_costs(programme)
    for costs in rng.standard_normal((20, 10)):
        signs = (tables @ costs >= -1e-9).all(axis=1)
        assert signs[programme.solve(costs[None])[0]]
        values = programme.vertices @ costs
        assert (values[signs] <= values.min() + 1e-9).all()


def _decisions(seed=0, rows=30):
    task = ContextLp(constraints=2, variables=5, features=2, rows=rows, degree=4)
    programme, random = task.programme(seed), np.random.default_rng(seed)
    z, costs = task._draw(random, np.ones((5, 2)) * (random.random((5, 2)) < 0.5), rows)
    return Decisions(programme, z, programme.solve(costs), costs)


def test_the_margin_problem_is_solved_as_well_as_by_a_quadratic_programme():
    """Against SLSQP on the same objective with slacks as variables."""
    decisions, lam = _decisions(rows=12), 0.1
    tables, z = reduced_costs(decisions.programme)[decisions.optimal], decisions.contexts
    n, p, rows = 5, 3, 12

    def objective(theta):
        margins = np.einsum("trn,tn->tr", tables, z @ theta.reshape(n, p).T)
        return lam / 2 * np.sum(theta**2) + np.maximum(1 - margins, 0).sum() / rows

    ours = objective(OptimalityMargin(lam=lam, steps=20_000).fit(decisions).ravel())
    slacks = tables.shape[1] * rows
    linear = np.einsum("trn,tq->trnq", tables, z).reshape(slacks, n * p)
    exact = minimize(
        lambda v: lam / 2 * np.sum(v[: n * p] ** 2) + v[n * p :].sum() / rows,
        np.concatenate([np.zeros(n * p), np.ones(slacks)]),
        jac=lambda v: np.concatenate([lam * v[: n * p], np.full(slacks, 1 / rows)]),
        bounds=[(None, None)] * (n * p) + [(0, None)] * slacks,
        constraints={
            "type": "ineq",
            "fun": lambda v: linear @ v[: n * p] + v[n * p :] - 1,
            "jac": lambda v: np.column_stack([linear, np.eye(slacks)]),
        },
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    assert exact.success
    assert exact.fun - 1e-6 <= ours <= exact.fun * 1.01


def test_the_spo_plus_subgradient_supports_its_loss():
    """loss(c_hat) = max_x (c - 2 c_hat)'x + 2 c_hat'x* - c'x* is convex and at least the extra cost of the decision."""
    decisions, rng = _decisions(), np.random.default_rng(3)
    programme, costs = decisions.programme, decisions.costs[0]
    best = programme.vertices[programme.solve(costs[None])[0]]

    def loss(guess):
        return float(np.max(programme.vertices @ (costs - 2 * guess)) + 2 * guess @ best - costs @ best)

    for guess, other in rng.standard_normal((30, 2, 5)):
        gradient = 2 * (best - programme.vertices[programme.solve((2 * guess - costs)[None])[0]])
        assert loss(other) >= loss(guess) + gradient @ (other - guess) - 1e-9
        assert loss(guess) >= costs @ programme.vertices[programme.solve(guess[None])[0]] - costs @ best - 1e-9
    start = np.mean([loss(g) for g in (decisions.contexts @ np.zeros((5, 3)).T)[:1]])
    assert start >= 0


def test_least_squares_is_perfect_where_the_linear_model_is_right():
    assert ContextLp(degree=1).run(CostRegression(), 0, None).metrics == {"normalised_regret": 0.0, "wrong_decisions": 0.0}


def test_learning_from_decisions_beats_least_squares_where_the_model_is_wrong():
    """Measured elsewhere at degree 6: least squares .131, margin .043, SPO+ .026."""
    task = ContextLp(degree=6)
    ols, margin, spo = (
        np.mean([task.run(method, seed, None).metrics["normalised_regret"] for seed in range(6)])
        for method in (CostRegression(), OptimalityMargin(), SpoPlus())
    )
    assert margin < 0.8 * ols
    assert spo < 0.8 * ols


def test_costs_are_told_only_to_methods_that_declare_them():
    seen = []

    class Curious(DecisionMethod, name="curious-decisions"):
        def fit(self, decisions):
            seen.append(decisions.costs)
            return np.zeros((10, 6))

    ContextLp().run(Curious(), 0, None)
    assert seen == [None]


def test_a_wrong_shape_is_invalid():
    class Broken(DecisionMethod, name="broken-decisions"):
        def fit(self, decisions):
            return np.full((10, 6), np.nan)

    with pytest.raises(InvalidResult, match=r"\[10, 6\]"):
        ContextLp().run(Broken(), 0, None)
