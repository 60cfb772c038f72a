"""The classifier as it is."""

from __future__ import annotations

import numpy as np

from kernels.mlp import softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class NoCalibration(Calibrator, name="none", label="Uncalibrated"):
    """The softmax of the classifier's own logits: what every calibrator must beat."""

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        return lambda outputs: softmax(outputs.logits)
