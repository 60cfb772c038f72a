"""Matrix scaling with off-diagonal and intercept regularisation."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kernels.calibration.affine import fit_affine
from kernels.mlp import softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class MatrixScaling(Calibrator, name="matrix", label="Matrix scaling (ODIR)"):
    """softmax(W logits + b) by penalised maximum likelihood; the penalties are ODIR's (Kull et al. 2019, "Beyond temperature scaling").

    Can change predictions. With both penalties at 0 it is the matrix scaling of Guo et al. 2017, which overfits small calibration splits.
    """

    penalty: float = Field(1.0, ge=0, description="times the mean squared off-diagonal weight")
    bias_penalty: float = Field(0.0, ge=0, description="times the mean squared bias")

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        weights, biases = fit_affine(
            calibration.logits, calibration.labels, off_diagonal_penalty=self.penalty, bias_penalty=self.bias_penalty
        )
        return lambda outputs: softmax(outputs.logits @ weights.T + biases)
