"""Platt scaling, one class against the rest."""

from __future__ import annotations

import numpy as np

from kernels.calibration.logistic import fit_logistic
from tasks.calibration.one_vs_rest import BinaryMap, one_vs_rest
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled

#: Keeps the log-odds of saturated probabilities finite.
CLIP = 1e-12


class Platt(Calibrator, name="platt", label="Platt scaling (one vs rest)"):
    """Per class, sigmoid(a log-odds + b) fitted to Platt's smoothed targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) (Platt 1999).

    Rows are renormalised.
    """

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        return one_vs_rest(calibration, fit_platt)


def fit_platt(scores: np.ndarray, hits: np.ndarray) -> BinaryMap:
    """Platt's sigmoid on the log-odds of scores [n] for hits [n] in {0, 1}."""
    positive = hits.sum()
    targets = np.where(hits > 0, (positive + 1) / (positive + 2), 1 / (len(hits) - positive + 2))
    slope, intercept = fit_logistic(log_odds(scores)[:, None], targets)
    return lambda new: 1 / (1 + np.exp(-(slope * log_odds(new) + intercept)))


def log_odds(scores: np.ndarray) -> np.ndarray:
    """log(s / (1 - s)), scores clipped to [1e-12, 1 - 1e-12]."""
    clipped = np.clip(scores, CLIP, 1 - CLIP)
    return np.log(clipped / (1 - clipped))
