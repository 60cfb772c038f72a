"""The task `calibration/digits`: calibrate an overconfident digit classifier after training."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.calibration.base_model import DigitsBaseModel
from tasks.calibration.metrics import aurc, auroc, brier, nll, null_eces, reliability
from tasks.calibration.protocol import CalibrationMap, Calibrator, Labelled, Outputs
from tasks.calibration.views import Shift
from tasks.datasets import digits_fingerprint
from tasks.errors import InvalidResult

#: Recipes of the base model, as fields of DigitsBaseModel. Wrong labels are in the training split only, except in noise20-all, a control.
BASES: dict[str, dict[str, Any]] = {
    "clean300": {"train_noise": 0.0},
    "noise20": {"train_noise": 0.2},
    "noise40": {"train": 600, "train_noise": 0.4},
    "noise20-all": {"train": 600, "train_noise": 0.2, "other_noise": 0.2, "hidden": (64,), "epochs": 100},
}

#: Simulated label sets behind the null band.
NULL_DRAWS = 200


class DigitsCalibration(
    Task, family="calibration", name="digits", label="Post-hoc calibration, digits", accepts=(Calibrator,), timeout=120, seconds=0.15
):
    """Post-hoc calibration of an MLP that was trained until it knew its training labels, wrong ones included, by heart.

    Splits per seed: 300 training, 400 calibration and 1,097 test rows of scikit-learn's digits (noise40, noise20-all: 600, 400, 797).
    The method gets logits and labels of the calibration split; its map then gets the logits of the test split, never the labels.
    """

    metrics = (
        Metric("ece", "1", "lower", "expected calibration error, equal-width bins closed on the right", primary=True, low=0, high=1),
        Metric("ece_null95", "1", "none", "95 % quantile of the ECE of a perfectly calibrated model with these confidences", low=0, high=1),
        Metric("ece_null_mean", "1", "none", "mean ECE of a perfectly calibrated model with these confidences", low=0, high=1),
        Metric("nll", "nats", "lower", "mean negative log-likelihood, probabilities clipped at 1e-15", low=0),
        Metric("brier", "1", "lower", "mean squared distance to the one-hot label, summed over classes", low=0, high=2),
        Metric("accuracy", "1", "higher", "share of test rows whose most probable class is right", low=0, high=1),
        Metric("accuracy_change", "1", "higher", "accuracy minus that of the uncalibrated model", low=-1, high=1),
        Metric("aurc", "1", "lower", "area under the risk-coverage curve of the confidence", low=0, high=1),
        Metric("auroc", "1", "higher", "how well confidence separates right from wrong predictions", low=0, high=1, finite=False),
        Metric("confidence_gap", "1", "none", "mean confidence minus accuracy: positive means overconfident", low=-1, high=1),
        Metric("fit_seconds", "s", "lower", "processor time of learning the calibration map", low=0),
        Metric("reliability_accuracy", "1", "none", "accuracy in each non-empty confidence bin", curve="bin", low=0, high=1),
        Metric("reliability_confidence", "1", "none", "mean confidence in each non-empty confidence bin", curve="bin", low=0, high=1),
        Metric("reliability_count", "rows", "none", "test rows in each confidence bin", curve="bin", low=0),
    )

    base: Literal["clean300", "noise20", "noise40", "noise20-all"] = Field("noise20", description="which classifier is calibrated")
    shift: Shift = Field("none", description="what happens to the test images; the calibration split stays as it is")
    bins: int = Field(15, ge=2, le=100, description="bins of the ECE and of the reliability diagram")

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def fixtures(self, seed: int) -> tuple[DigitsBaseModel, ...]:
        return (DigitsBaseModel(**BASES[self.base], seed=seed),)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, Calibrator)
        model = context.fixture(self.fixtures(seed)[0])
        streams = self.streams(seed)
        start = time.process_time()
        calibrate = method.fit(Labelled(model.calibration, model.calibration_labels), streams.numpy("method"))
        fit_seconds = time.process_time() - start
        outputs = model.test[self.shift]
        probabilities = checked_probabilities(calibrate, outputs)

        labels = model.test_labels
        confidence = probabilities.max(axis=1)
        correct = probabilities.argmax(axis=1) == labels
        diagram = reliability(confidence, correct, self.bins)
        null = null_eces(
            confidence, self.bins, NULL_DRAWS, streams.numpy("eval").spawn(1)[0]
        )  # the base model's views used the stream itself
        accuracy = float(correct.mean())
        filled = np.flatnonzero(diagram.counts)
        return Measured(
            {
                "ece": diagram.ece,
                "ece_null95": float(np.quantile(null, 0.95)),
                "ece_null_mean": float(null.mean()),
                "nll": nll(probabilities, labels),
                "brier": brier(probabilities, labels),
                "accuracy": accuracy,
                "accuracy_change": accuracy - float((outputs.logits.argmax(axis=1) == labels).mean()),
                "aurc": aurc(confidence, correct),
                "auroc": auroc(confidence, correct),
                "confidence_gap": float(confidence.mean()) - accuracy,
                "fit_seconds": fit_seconds,
            },
            curves={
                "reliability_accuracy": (filled.tolist(), diagram.accuracy[filled].tolist()),
                "reliability_confidence": (filled.tolist(), diagram.confidence[filled].tolist()),
                "reliability_count": (list(range(self.bins)), diagram.counts.tolist()),
            },
        )


def checked_probabilities(calibrate: CalibrationMap, outputs: Outputs) -> np.ndarray:
    """The map's probabilities [n, classes], or InvalidResult if they aren't probabilities or depend on which other rows are asked for."""
    probabilities = _probabilities(calibrate(outputs), outputs.logits.shape)
    rows = np.arange(0, len(probabilities), max(1, len(probabilities) // 16))
    alone = _probabilities(calibrate(outputs.rows(rows)), (len(rows), probabilities.shape[1]))
    if not np.allclose(alone, probabilities[rows], rtol=1e-4, atol=1e-6):
        raise InvalidResult(
            "The calibration map gives a row other probabilities when other rows are left out; a map must treat each input by itself."
        )
    return probabilities


def _probabilities(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        probabilities = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor that requires grad
        raise InvalidResult(f"The calibration map returned {type(values).__name__}, not an array of probabilities ({error}).") from None
    if probabilities.shape != shape:
        raise InvalidResult(f"The calibration map returned shape {probabilities.shape} where {shape} was due.")
    if not np.isfinite(probabilities).all():
        raise InvalidResult(f"The calibration map returned {int((~np.isfinite(probabilities)).sum())} values that are not finite.")
    if probabilities.min() < 0:
        raise InvalidResult(f"The calibration map returned a negative probability ({probabilities.min():.3g}).")
    sums = probabilities.sum(axis=1)
    worst = sums[np.abs(sums - 1).argmax()]
    if abs(worst - 1) > 1e-5:
        raise InvalidResult(f"The calibration map returned a row that sums to {worst:.6g}, not to 1.")
    return probabilities / sums[:, None]
