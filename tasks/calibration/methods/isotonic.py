"""Isotonic regression, one class against the rest."""

from __future__ import annotations

import numpy as np

from kernels.calibration.isotonic import isotonic_regression
from tasks.calibration.one_vs_rest import BinaryMap, one_vs_rest
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class Isotonic(Calibrator, name="isotonic", label="Isotonic regression (one vs rest)"):
    """Per class, the non-decreasing map of its probability nearest to the labels, linear between knots (Zadrozny and Elkan 2002).

    Rows are renormalised; flat steps make classes tie.
    """

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        return one_vs_rest(calibration, fit_isotonic)


def fit_isotonic(scores: np.ndarray, hits: np.ndarray) -> BinaryMap:
    """The isotonic map of scores [n] to the frequency of hits [n]; constant outside the range of the scores."""
    knots, values = isotonic_regression(scores, hits)
    return lambda new: np.interp(new, knots, values)
