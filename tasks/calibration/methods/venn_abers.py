"""Inductive Venn-Abers predictors, one class against the rest."""

from __future__ import annotations

import numpy as np

from tasks.calibration.one_vs_rest import BinaryMap, one_vs_rest
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class VennAbers(Calibrator, name="venn-abers", label="Venn-Abers (one vs rest)"):
    """Per class, isotonic regression with the test point added once as 0 and once as 1 gives p0 <= p1; merged as p1 / (1 - p0 + p1)
    (Vovk, Petej and Fedorova 2015); rows renormalised."""

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        from kernels.calibration.venn_abers import venn_abers_bounds  # imports numba, half a second

        def fit_binary(scores: np.ndarray, hits: np.ndarray) -> BinaryMap:
            def binary(new: np.ndarray) -> np.ndarray:
                low, high = venn_abers_bounds(scores, hits, new)
                return high / (1 - low + high)

            return binary

        return one_vs_rest(calibration, fit_binary)
