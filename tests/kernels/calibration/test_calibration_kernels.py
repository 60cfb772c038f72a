"""Solvers of the calibrators against scikit-learn, torch and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from kernels.calibration.affine import fit_affine
from kernels.calibration.isotonic import isotonic_regression, pool_adjacent_violators
from kernels.calibration.logistic import fit_logistic
from kernels.calibration.temperature import optimal_temperature
from kernels.calibration.venn_abers import venn_abers_bounds


@pytest.fixture
def binary():
    """Overconfident scores [500] and hits [500]: P(hit) = sigmoid(log-odds / 2)."""
    rng = np.random.default_rng(7)
    scores = rng.beta(0.5, 0.7, 500).clip(1e-6, 1 - 1e-6).round(3).clip(0.001, 0.999)
    odds = np.log(scores / (1 - scores))
    return scores, (rng.random(500) < 1 / (1 + np.exp(-odds / 2))).astype(float)


@pytest.mark.parametrize("diagonal", [True, False])
def test_affine_fit_equals_torchs_lbfgs_with_autograd(diagonal):
    rng = np.random.default_rng(1)
    logits = 3 * rng.normal(size=(400, 5))
    labels = (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)
    weights, biases = fit_affine(logits, labels, diagonal=diagonal, off_diagonal_penalty=0.3, bias_penalty=0.2)
    z, y = torch.tensor(logits), torch.tensor(labels)
    w = (torch.ones(5) if diagonal else torch.eye(5)).double().requires_grad_()
    b = torch.zeros(5).double().requires_grad_()
    optimizer = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        matrix = torch.diag(w) if diagonal else w
        off = matrix - torch.diag(torch.diag(matrix))
        loss = torch.nn.functional.cross_entropy(z @ matrix.T + b, y) + 0.3 * (off**2).sum() / 20 + 0.2 * (b**2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = torch.diag(w) if diagonal else w
    np.testing.assert_allclose(weights, expected.detach(), atol=2e-5)
    np.testing.assert_allclose(biases, b.detach(), atol=2e-5)


def test_isotonic_equals_sklearn_with_tied_scores(binary):
    scores, hits = binary
    knots, values = isotonic_regression(scores, hits)
    peer = IsotonicRegression(out_of_bounds="clip").fit(scores, hits)
    new = np.linspace(0, 1, 500)
    np.testing.assert_allclose(np.interp(new, knots, values), peer.predict(new), atol=1e-9)


def test_pool_adjacent_violators_by_hand():
    """3, 1 pool to 2; then 2, 5, 4 with weights 2, 1, 3: 5 and 4 pool to (5 + 12) / 4."""
    fitted = pool_adjacent_violators(np.array([3.0, 1.0, 5.0, 4.0]), np.array([1.0, 1.0, 1.0, 3.0]))
    np.testing.assert_allclose(fitted, [2, 2, 4.25, 4.25])


def test_venn_abers_bounds_equal_sklearn_isotonic_with_the_point_added(binary):
    scores, hits = binary
    new = np.array([0.0, 0.001, 0.123, 0.5, scores[3], 0.9995, 1.0])
    low, high = venn_abers_bounds(scores, hits, new)
    for label, bounds in ((0.0, low), (1.0, high)):
        for value, bound in zip(new, bounds, strict=True):
            peer = IsotonicRegression().fit(np.append(scores, value), np.append(hits, label))
            assert bound == pytest.approx(peer.predict([value])[0], abs=1e-9)
    assert (low <= high).all()


def test_logistic_newton_equals_sklearn(binary):
    scores, hits = binary
    features = np.stack([np.log(scores), -np.log1p(-scores)], axis=1)
    peer = LogisticRegression(C=1e6 / len(hits), tol=1e-10, max_iter=10_000).fit(features, hits)  # the same ridge of 1e-6 per mean loss
    np.testing.assert_allclose(fit_logistic(features, hits), [*peer.coef_[0], *peer.intercept_], atol=1e-4)


@pytest.mark.parametrize("true", [0.2, 1.0, 3.0, 20.0])
def test_temperature_recovers_the_scale_of_exact_logits(true):
    """Logits of the true posterior times T have their optimum at T, up to sampling: the slope there is zero in expectation."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(20_000, 4))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert optimal_temperature(logits * true, labels) == pytest.approx(true, rel=0.05)


def test_temperature_is_clamped_when_labels_are_separable_or_logits_are_wrong():
    logits = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert optimal_temperature(logits, np.array([0, 1])) == 0.05
    assert optimal_temperature(logits, np.array([1, 0])) == 100.0
    assert optimal_temperature(np.zeros((2, 2)), np.array([1, 0])) == 100.0
