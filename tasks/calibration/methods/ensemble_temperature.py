"""Ensemble temperature scaling."""

from __future__ import annotations

import numpy as np

from kernels.calibration.temperature import optimal_temperature
from kernels.mlp import softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class EnsembleTemperature(Calibrator, name="ensemble-temperature", label="Ensemble temperature scaling"):
    """w1 softmax(z / T) + w2 softmax(z) + w3 / classes, T from temperature scaling and the weights on the simplex by maximum likelihood
    (Zhang, Kailkhura and Han 2020, "Mix-n-match").

    The likelihood is concave in the weights, so expectation-maximisation started in the middle reaches its maximum.
    """

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        temperature = optimal_temperature(calibration.logits, calibration.labels)

        def parts(logits: np.ndarray) -> np.ndarray:
            return np.stack([softmax(logits / temperature), softmax(logits), np.full(logits.shape, 1 / logits.shape[1])])

        likelihoods = parts(calibration.logits)[:, np.arange(len(calibration.labels)), calibration.labels]
        weights = mixture_weights(likelihoods)
        return lambda outputs: np.tensordot(weights, parts(outputs.logits), axes=1)


def mixture_weights(likelihoods: np.ndarray, tolerance: float = 1e-10, iterations: int = 10_000) -> np.ndarray:
    """Weights [parts] on the simplex that maximise the mean log of weights @ likelihoods [parts, n]."""
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(iterations):
        following = weights * (likelihoods / (weights @ likelihoods)).mean(axis=1)
        if np.abs(following - weights).max() < tolerance:
            return following
        weights = following
    return weights
