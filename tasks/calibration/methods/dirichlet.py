"""Dirichlet calibration."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kernels.calibration.affine import fit_affine
from kernels.mlp import softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled

#: Probabilities are clipped here before their logarithm: float32 softmax saturates, and log 0 would remove a class for good.
CLIP = 1e-15


class Dirichlet(Calibrator, name="dirichlet", label="Dirichlet calibration (ODIR)"):
    """softmax(W log p + b), the calibration map of Dirichlet-distributed predictions, with ODIR penalties (Kull et al. 2019)."""

    penalty: float = Field(1.0, ge=0, description="times the mean squared off-diagonal weight")
    bias_penalty: float = Field(0.0, ge=0, description="times the mean squared bias")

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        def features(logits: np.ndarray) -> np.ndarray:
            return np.log(np.maximum(softmax(logits), CLIP))

        weights, biases = fit_affine(
            features(calibration.logits), calibration.labels, off_diagonal_penalty=self.penalty, bias_penalty=self.bias_penalty
        )
        return lambda outputs: softmax(features(outputs.logits) @ weights.T + biases)
