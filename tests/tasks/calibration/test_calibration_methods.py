"""Each calibrator against a peer library, a closed form or an invariant."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from kernels.calibration.temperature import optimal_temperature
from kernels.mlp import softmax
from tasks.calibration.methods.beta import fit_beta
from tasks.calibration.methods.correctness_aware import CorrectnessAware
from tasks.calibration.methods.dirichlet import Dirichlet
from tasks.calibration.methods.ensemble_temperature import EnsembleTemperature, mixture_weights
from tasks.calibration.methods.histogram import Histogram
from tasks.calibration.methods.isotonic import Isotonic
from tasks.calibration.methods.matrix import MatrixScaling
from tasks.calibration.methods.none import NoCalibration
from tasks.calibration.methods.platt import fit_platt
from tasks.calibration.methods.temperature import Temperature
from tasks.calibration.methods.temperature_lbfgs import TemperatureLbfgs, published_temperature
from tasks.calibration.methods.vector import VectorScaling
from tasks.calibration.metrics import nll, reliability
from tasks.calibration.protocol import Labelled, Outputs


def labelled(logits, labels, transformed=None) -> Labelled:
    return Labelled(Outputs(np.asarray(logits, dtype=float), transformed or {}), np.asarray(labels))


def in_sample_nll(method, calibration: Labelled) -> float:
    calibrate = method.fit(calibration, np.random.default_rng(0))
    return nll(calibrate(calibration.outputs), calibration.labels)


@pytest.fixture
def binary():
    """Overconfident scores [500] and hits [500]: P(hit) = sigmoid(log-odds / 2)."""
    rng = np.random.default_rng(7)
    scores = rng.beta(0.5, 0.7, 500).clip(1e-6, 1 - 1e-6).round(3).clip(0.001, 0.999)
    odds = np.log(scores / (1 - scores))
    return scores, (rng.random(500) < 1 / (1 + np.exp(-odds / 2))).astype(float)


# temperature


def test_temperature_equals_scipys_bounded_scalar_solver_and_the_recorded_optimum(over5):
    logits, labels = over5
    temperature = optimal_temperature(logits, labels)
    solver = minimize_scalar(lambda b: nll(softmax(logits * b), labels), bounds=(0.01, 20), method="bounded", options={"xatol": 1e-12})
    assert temperature == pytest.approx(1 / solver.x, rel=1e-6)
    assert temperature == pytest.approx(3.1650314, abs=1e-7)
    assert nll(softmax(logits / temperature), labels) == pytest.approx(1.1180172, abs=1e-7)


def test_temperature_scaling_brings_the_ece_of_over5_to_its_recorded_value(over5):
    calibration = labelled(*over5)
    probabilities = Temperature().fit(calibration, np.random.default_rng(0))(calibration.outputs)
    correct = probabilities.argmax(axis=1) == calibration.labels
    assert reliability(probabilities.max(axis=1), correct, 15).ece == pytest.approx(0.0477753, abs=1e-7)


def test_published_lbfgs_recipe_stops_at_the_recorded_distance_from_the_optimum(over5):
    assert published_temperature(*over5, lr=0.01, max_iter=50, start=1.5) == pytest.approx(1.768, abs=1e-3)
    assert published_temperature(*over5, lr=0.01, max_iter=200, start=1.5) == pytest.approx(2.520, abs=1e-3)
    calibration = labelled(*over5)
    assert in_sample_nll(TemperatureLbfgs(), calibration) == pytest.approx(1.248, abs=1e-3)


# affine maps


def test_richer_maps_fit_the_calibration_split_at_least_as_well(over5):
    calibration = labelled(*over5)
    temperature = in_sample_nll(Temperature(), calibration)
    vector = in_sample_nll(VectorScaling(), calibration)
    matrix = in_sample_nll(MatrixScaling(penalty=0), calibration)
    assert in_sample_nll(NoCalibration(), calibration) > temperature >= vector >= matrix
    assert in_sample_nll(EnsembleTemperature(), calibration) <= temperature + 1e-12
    assert in_sample_nll(Dirichlet(penalty=0), calibration) <= temperature  # W = I / T is among its maps
    assert matrix < in_sample_nll(MatrixScaling(penalty=1), calibration) < temperature


def test_mixture_weights_equal_scipys_constrained_solver():
    likelihoods = np.random.default_rng(0).uniform(0.05, 1, (3, 200))
    weights = mixture_weights(likelihoods)
    solver = minimize(
        lambda w: -np.log(w @ likelihoods).mean(),
        np.full(3, 1 / 3),
        method="SLSQP",
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(weights, solver.x, atol=1e-4)
    assert weights.sum() == pytest.approx(1, abs=1e-12)


# binary maps


def test_platt_is_the_optimum_of_its_smoothed_targets(binary):
    scores, hits = binary
    n1, n0 = hits.sum(), (1 - hits).sum()
    targets = np.where(hits > 0, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
    odds = np.log(scores / (1 - scores))
    solver = minimize(lambda ab: (np.logaddexp(0, ab[0] * odds + ab[1]) - targets * (ab[0] * odds + ab[1])).mean(), [1, 0], tol=1e-12)
    np.testing.assert_allclose(fit_platt(scores, hits)(scores), 1 / (1 + np.exp(-(solver.x[0] * odds + solver.x[1]))), atol=1e-4)


def test_beta_is_monotone_and_drops_a_negative_coefficient(binary):
    scores, hits = binary
    grid = np.linspace(0.001, 0.999, 200)
    assert (np.diff(fit_beta(scores, hits)(grid)) >= 0).all()
    reversed_map = fit_beta(scores, 1 - hits)(grid)  # both slopes would be negative: what is left is the base rate
    np.testing.assert_allclose(reversed_map, (1 - hits).mean(), atol=0.01)


def test_histogram_of_equal_width_by_hand():
    """Two classes, two bins: of three rows with p(class 0) in (.5, 1], two are of class 0."""
    logits = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8]])
    calibrate = Histogram(bins=2, spacing="width").fit(labelled(logits, [0, 0, 1, 1]), np.random.default_rng(0))
    np.testing.assert_allclose(calibrate(Outputs(logits, {})), [[2 / 3, 1 / 3]] * 3 + [[0, 1]])


def test_histogram_of_equal_mass_equals_the_means_of_sorted_chunks():
    rng = np.random.default_rng(0)
    scores, hits = rng.random(60), rng.integers(0, 2, 60).astype(float)
    order = scores.argsort()
    expected = np.concatenate([np.full(12, hits[rows].mean()) for rows in np.split(order, 5)])
    np.testing.assert_allclose(Histogram(bins=5).fit_binary(scores, hits)(scores[order]), expected)


def test_one_vs_rest_falls_back_on_uniform_where_no_class_is_possible():
    logits = np.log([[0.45, 0.45, 0.1], [0.45, 0.45, 0.1], [0.1, 0.1, 0.8]])
    calibrate = Isotonic().fit(labelled(logits, [2, 2, 2]), np.random.default_rng(0))
    assert np.isfinite(calibrate(Outputs(np.log([[0.9, 0.05, 0.05]]), {}))).all()


# correctness-aware calibration


def test_correctness_aware_with_constant_features_reaches_the_scalar_optimum_of_its_weighted_loss(over5):
    logits, labels = over5
    logits, labels = logits[:400] / 3 * 1.5, labels[:400]
    same = {"blur": np.zeros_like(logits)}
    method = CorrectnessAware(transforms=("blur",), top_k=1, lr=0.02, steps=2000)
    calibration = labelled(logits, labels, same)
    probabilities = method.fit(calibration, np.random.default_rng(0))(calibration.outputs)
    correct = logits.argmax(axis=1) == labels
    weights = np.where(correct, 1 - correct.mean(), correct.mean())

    def loss(temperature):
        confidence = softmax(logits / temperature).max(axis=1)
        return (weights * (confidence - correct) ** 2).sum() / weights.sum()

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-10}).x
    np.testing.assert_allclose(probabilities, softmax(logits / best), atol=1e-3)


def test_correctness_aware_never_changes_predictions_and_keeps_its_clamp(over5):
    logits, labels = over5
    copies = {"rotate": logits[::-1].copy(), "blur": logits * 0.5, "contrast": logits + 1}
    calibration = labelled(logits, labels, copies)
    probabilities = CorrectnessAware(lr=1.0, steps=50).fit(calibration, np.random.default_rng(0))(calibration.outputs)
    assert (probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()
    order = np.sort(logits, axis=1)
    ranked = np.sort(probabilities, axis=1)
    temperature = (order[:, -1] - order[:, -2]) / np.log(ranked[:, -1] / ranked[:, -2])
    assert (temperature > 0.1 - 1e-6).all()
    assert (temperature < 10 + 1e-6).all()


def test_correctness_aware_reads_each_copy_at_the_originals_top_classes():
    outputs = Outputs(np.array([[0.0, 3.0, 1.0]]), {"blur": np.log([[0.5, 0.2, 0.3]])})
    method = CorrectnessAware(transforms=("blur",), top_k=2)
    np.testing.assert_allclose(method.features(outputs), [[0.2, 0.3]])
