"""Beta calibration, one class against the rest."""

from __future__ import annotations

import numpy as np

from kernels.calibration.logistic import fit_logistic
from tasks.calibration.one_vs_rest import BinaryMap, one_vs_rest
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled

#: Keeps the logarithms of saturated probabilities finite.
CLIP = 1e-12


class Beta(Calibrator, name="beta", label="Beta calibration (one vs rest)"):
    """Per class, log-odds of the class = a log s - b log(1 - s) + c with a, b >= 0 (Kull, Silva Filho and Flach 2017); rows renormalised.

    A coefficient that comes out negative is dropped and the rest refitted.
    """

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        return one_vs_rest(calibration, fit_beta)


def fit_beta(scores: np.ndarray, hits: np.ndarray) -> BinaryMap:
    """The beta map of scores [n] for hits [n] in {0, 1}."""

    def features(values: np.ndarray) -> np.ndarray:
        clipped = np.clip(values, CLIP, 1 - CLIP)
        return np.stack([np.log(clipped), -np.log1p(-clipped)], axis=1)

    known = features(scores)
    kept = [0, 1]
    while True:
        *slopes, intercept = fit_logistic(known[:, kept], hits)
        if not kept or min(slopes) >= 0:
            break
        kept.remove(kept[int(np.argmin(slopes))])
    return lambda new: 1 / (1 + np.exp(-(features(new)[:, kept] @ np.array(slopes) + intercept)))
