"""Binary calibrators on many classes: one per class, then each row is divided by its sum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.mlp import softmax
from tasks.calibration.protocol import CalibrationMap, Labelled, Outputs

#: Maps scores [n] of one class to its probabilities [n].
BinaryMap = Callable[[np.ndarray], np.ndarray]


def one_vs_rest(calibration: Labelled, fit_binary: Callable[[np.ndarray, np.ndarray], BinaryMap]) -> CalibrationMap:
    """Fit `fit_binary(scores [n], hits [n] in {0, 1})` to each class's softmax probability; returns the renormalised calibration map.

    Rows whose calibrated probabilities are all zero fall back on the uniform distribution.
    """
    probabilities = softmax(calibration.logits)
    maps = [
        fit_binary(probabilities[:, label], (calibration.labels == label).astype(np.float64)) for label in range(probabilities.shape[1])
    ]

    def calibrate(outputs: Outputs) -> np.ndarray:
        columns = [binary(scores) for binary, scores in zip(maps, softmax(outputs.logits).T, strict=True)]
        stacked = np.stack(columns, axis=1)
        sums = stacked.sum(axis=1, keepdims=True)
        return np.where(sums > 0, stacked / np.where(sums > 0, sums, 1.0), 1.0 / stacked.shape[1])

    return calibrate
