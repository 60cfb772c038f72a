"""Temperature scaling, solved to its optimum."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kernels.calibration.temperature import optimal_temperature
from kernels.mlp import softmax
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled


class Temperature(Calibrator, name="temperature", label="Temperature scaling"):
    """softmax(logits / T) with the T that minimises the negative log-likelihood of the calibration split (Guo et al. 2017).

    Convex in 1/T and solved to its optimum by safeguarded Newton steps. T stays in [low, high]: a separable split has its optimum at 0.
    """

    low: float = Field(0.05, gt=0, description="smallest temperature")
    high: float = Field(100.0, gt=0, description="largest temperature")

    def infeasible(self) -> str | None:
        return None if self.low < self.high else f"low={self.low:g} must be below high={self.high:g}."

    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        temperature = optimal_temperature(calibration.logits, calibration.labels, self.low, self.high)
        return lambda outputs: softmax(outputs.logits / temperature)
