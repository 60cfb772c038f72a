"""Histogram binning, one class against the rest."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.calibration.metrics import bin_index
from tasks.calibration.one_vs_rest import BinaryMap, one_vs_rest
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class Histogram(Calibrator, name="histogram", label="Histogram binning (one vs rest)"):
    """Per class, the frequency of the class in each equal-width bin of its probability (Zadrozny and Elkan 2001); rows renormalised.

    An empty bin keeps its midpoint. Ties between classes make it change predictions.
    """

    bins: int = Field(15, ge=1, le=1000)

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        def fit_binary(scores: np.ndarray, hits: np.ndarray) -> BinaryMap:
            index = bin_index(scores, self.bins)
            counts = np.bincount(index, minlength=self.bins)
            frequency = np.bincount(index, weights=hits, minlength=self.bins) / np.maximum(counts, 1)
            values = np.where(counts > 0, frequency, (np.arange(self.bins) + 0.5) / self.bins)
            return lambda new: values[bin_index(new, self.bins)]

        return one_vs_rest(calibration, fit_binary)
