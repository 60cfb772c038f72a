"""Vector scaling."""

from __future__ import annotations

import numpy as np

from kernels.calibration.affine import fit_affine
from kernels.mlp import softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class VectorScaling(Calibrator, name="vector", label="Vector scaling"):
    """softmax(w * logits + b), one weight and one bias per class, by maximum likelihood (Guo et al. 2017); solved to its optimum."""

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        weights, biases = fit_affine(calibration.logits, calibration.labels, diagonal=True)
        return lambda outputs: softmax(outputs.logits @ weights + biases)
