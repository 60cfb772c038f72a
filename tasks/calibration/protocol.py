"""What a calibrator receives and what it must return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tasks.api import Method


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a fixed classifier says about n inputs: logits [n, classes] float64, and its logits for transformed copies of the same inputs.

    `transformed` maps the name of a transformation (see `tasks.calibration.views`) to logits [n, classes].
    """

    logits: np.ndarray
    transformed: Mapping[str, np.ndarray]

    def rows(self, rows: np.ndarray | slice) -> Outputs:
        """The same outputs for some of the inputs."""
        return Outputs(self.logits[rows], {name: logits[rows] for name, logits in self.transformed.items()})


@dataclass(frozen=True, slots=True)
class Labelled:
    """The calibration split: outputs and the true labels [n] int64."""

    outputs: Outputs
    labels: np.ndarray

    @property
    def logits(self) -> np.ndarray:
        return self.outputs.logits


#: Maps outputs for n inputs to probabilities [n, classes]: non-negative rows that sum to one. Each row depends on its own input only.
CalibrationMap = Callable[[Outputs], np.ndarray]


class Calibrator(Method, family="calibration"):
    """A post-hoc calibrator: learns a calibration map from the calibration split. It never meets the test split's labels."""

    @abstractmethod
    def fit(self, calibration: Labelled, rng: np.random.Generator) -> CalibrationMap:
        """The calibration map. Randomness comes from `rng` only."""
