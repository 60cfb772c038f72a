"""Scores against peers' recorded values on a fixed input, closed forms and hand counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from kernels.mlp import softmax
from tasks.calibration import metrics


@pytest.fixture(scope="session")
def scored(over5):
    logits, labels = over5
    probabilities = softmax(logits)
    return probabilities, labels, probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def test_scores_on_over5_equal_values_recorded_from_torchmetrics_and_netcal(scored):
    probabilities, labels, confidence, correct = scored
    assert correct.mean() == pytest.approx(0.556)
    assert metrics.nll(probabilities, labels) == pytest.approx(1.7429902, abs=1e-7)
    assert metrics.brier(probabilities, labels) == pytest.approx(0.6789595, abs=1e-7)
    assert metrics.reliability(confidence, correct, 15).ece == pytest.approx(0.2655378, abs=1e-7)
    assert metrics.aurc(confidence, correct) == pytest.approx(0.2958705, abs=1e-7)
    assert metrics.auroc(confidence, correct) == pytest.approx(0.6822056, abs=1e-7)


def test_nll_brier_and_auroc_equal_sklearn(scored):
    probabilities, labels, confidence, correct = scored
    assert metrics.nll(probabilities, labels) == pytest.approx(log_loss(labels, probabilities), abs=1e-12)
    by_class = sum(brier_score_loss(labels == k, probabilities[:, k]) for k in range(5))
    assert metrics.brier(probabilities, labels) == pytest.approx(by_class, abs=1e-12)
    assert metrics.auroc(confidence.round(2), correct) == pytest.approx(roc_auc_score(correct, confidence.round(2)), abs=1e-12)


def test_bins_are_closed_on_the_right_also_one_rounding_error_off():
    edges = np.arange(1, 16) / 15
    for values in (edges, np.nextafter(edges, 2), np.nextafter(edges, 0)):
        assert metrics.bin_index(values, 15).tolist() == list(range(15))
    assert metrics.bin_index(np.array([0.6, 0.6 + 1e-6, 1.0, 1e-9, 0.0]), 15).tolist() == [8, 9, 14, 0, 0]


def test_ece_by_hand():
    """Two bins of (0, .5], (.5, 1]: gaps |.5 - .4| over 2 rows and |1/3 - .8| over 3."""
    diagram = metrics.reliability(np.array([0.3, 0.5, 0.7, 0.8, 0.9]), np.array([0, 1, 0, 1, 0]), 2)
    assert diagram.counts.tolist() == [2, 3]
    assert diagram.ece == pytest.approx((2 * 0.1 + 3 * (0.8 - 1 / 3)) / 5)


def test_aurc_by_hand_with_a_tie():
    """Order 1, then two tied rows of which one is wrong: risks 0, then 0.5 expected errors of 2, then 1 of 3."""
    assert metrics.aurc(np.array([0.9, 0.5, 0.5]), np.array([1, 0, 1])) == pytest.approx((0 + 0.25 + 1 / 3) / 3)


def test_aurc_ignores_the_order_of_rows(scored):
    _, _, confidence, correct = scored
    order = np.random.default_rng(0).permutation(len(correct))
    coarse = confidence.round(1)
    assert metrics.aurc(coarse[order], correct[order]) == pytest.approx(metrics.aurc(coarse, correct), abs=1e-12)


def test_null_ece_matches_the_recorded_floor_of_a_calibrated_model():
    """A perfectly calibrated model with Beta(5, 1.2) confidences shows ECE .029 at n = 1000 (recorded by simulation)."""
    confidence = np.random.default_rng(1).beta(5, 1.2, 1000)
    null = metrics.null_eces(confidence, 15, 400, np.random.default_rng(2))
    assert null.mean() == pytest.approx(0.029, abs=0.002)
    assert np.quantile(null, 0.95) > null.mean()


def test_null_ece_is_the_ece_of_simulated_hits():
    confidence = np.random.default_rng(3).uniform(0.1, 1, 50)
    hits = np.random.default_rng(4).random((1, 50)) < confidence
    expected = metrics.reliability(confidence, hits[0], 15).ece
    assert metrics.null_eces(confidence, 15, 1, np.random.default_rng(4))[0] == pytest.approx(expected, abs=1e-12)


def test_auroc_is_undefined_when_every_prediction_is_right():
    assert np.isnan(metrics.auroc(np.array([0.5, 0.9]), np.array([True, True])))
