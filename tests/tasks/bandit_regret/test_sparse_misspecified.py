"""Sparse misspecified search: the guarantee by brute force, the net's covering radius, and the dense rival."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.bandit_regret.methods.sparse_elimination import LeastSquaresSearch, SparseElimination, ball_net
from tasks.bandit_regret.sparse import SparseMisspecified


@pytest.mark.parametrize(("sparsity", "eps"), [(1, 0.1), (2, 0.15), (3, 0.3)])
def test_the_net_covers_the_ball(sparsity, eps):
    net, random = ball_net(sparsity, eps), np.random.default_rng(0)
    points = random.standard_normal((500, sparsity))
    points *= random.random((500, 1)) ** (1 / sparsity) / np.linalg.norm(points, axis=1, keepdims=True)
    assert np.linalg.norm(points[:, None] - net[None], axis=2).min(axis=1).max() <= eps + 1e-12


@pytest.mark.parametrize(("d", "sparsity"), [(10, 1), (40, 1), (15, 2)])
def test_the_answer_is_within_4_eps_of_brute_force_on_every_seed(d, sparsity):
    """Measured elsewhere: at most 1.40 eps and 5 to 14 queries."""
    task = SparseMisspecified(d=d, sparsity=sparsity, actions=800)
    lost = []
    for seed in range(6):
        metrics = task.run(SparseElimination(), seed, None).metrics
        lost.append(metrics["suboptimality"])
        assert metrics["suboptimality"] <= 4
        assert metrics["queries"] <= 50
    assert np.mean(lost) <= 2


def test_misspecification_is_bounded_and_hides_the_best_decile():
    task = SparseMisspecified(actions=500)
    features, linear, rewards = task.world(3)
    np.testing.assert_allclose(np.abs(rewards - linear), 0.1, atol=1e-12)
    hidden = rewards < linear
    assert hidden.sum() == 50
    assert linear[hidden].min() >= linear[~hidden].max()
    assert np.linalg.norm(np.linalg.lstsq(features, linear, rcond=None)[0]) == pytest.approx(1)
    assert (np.abs(np.linalg.lstsq(features, linear, rcond=None)[0]) > 1e-9).sum() == task.sparsity


def test_the_dense_rival_needs_more_queries_than_it_has():
    task = SparseMisspecified(d=40, sparsity=1, budget=20)
    lost = [
        [task.run(method, seed, None).metrics["suboptimality"] for seed in range(4)]
        for method in (SparseElimination(), LeastSquaresSearch())
    ]
    assert np.mean(lost[0]) < np.mean(lost[1])
