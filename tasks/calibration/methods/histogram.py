"""Histogram binning, one class against the rest."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tasks.calibration.one_vs_rest import BinaryMap, one_vs_rest
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class Histogram(Calibrator, name="histogram", label="Histogram binning (one vs rest)"):
    """Per class, the frequency of the class in each bin of its probability (Zadrozny and Elkan 2001); rows renormalised.

    The bins hold equally many calibration rows, or are equally wide; an empty one keeps its midpoint. Classes that tie change predictions.
    """

    bins: int = Field(15, ge=1, le=1000)
    spacing: Literal["width", "mass"] = Field("mass", description="bins with equally many calibration rows, or of equal width")

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        return one_vs_rest(calibration, self.fit_binary)

    def fit_binary(self, scores: np.ndarray, hits: np.ndarray) -> BinaryMap:
        """The frequency of hits [n] in each bin of scores [n]; a score on an edge belongs to the bin below."""
        edges = np.linspace(0, 1, self.bins + 1)
        if self.spacing == "mass":
            edges = np.concatenate([[0.0], np.unique(np.quantile(scores, edges[1:-1], method="lower")), [1.0]])
        index = np.searchsorted(edges[1:-1], scores)
        counts = np.bincount(index, minlength=len(edges) - 1)
        frequencies = np.bincount(index, weights=hits, minlength=len(edges) - 1) / np.maximum(counts, 1)
        values = np.where(counts > 0, frequencies, (edges[:-1] + edges[1:]) / 2)
        return lambda new: values[np.searchsorted(edges[1:-1], new)]
