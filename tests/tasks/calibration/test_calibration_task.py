"""The task: what it gives a method, what it accepts back, what it measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tasks.calibration.base_model import DigitsBaseModel
from tasks.calibration.digits import DigitsCalibration, checked_probabilities
from tasks.calibration.methods.none import NoCalibration
from tasks.calibration.methods.temperature import Temperature
from tasks.calibration.protocol import Calibrator, Outputs
from tasks.datasets import digits
from tasks.errors import InvalidResult
from tasks.streams import Streams
from tasks.testing import LocalContext


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return LocalContext(tmp_path_factory.mktemp("calibration"))


def test_base_model_is_as_overconfident_as_recorded_and_temperature_scaling_mends_it(context):
    """Recorded on eight seeds: ECE .130 +- .022 raw, .033 +- .011 after; accuracy .77."""
    task = DigitsCalibration()
    for seed in (0, 1):
        raw, scaled = task.run(NoCalibration(), seed, context).metrics, task.run(Temperature(), seed, context).metrics
        assert raw["ece"] == pytest.approx(0.13, abs=0.06)
        assert raw["accuracy"] == pytest.approx(0.77, abs=0.06)
        assert raw["ece"] > 2 * raw["ece_null95"]
        assert scaled["ece"] < raw["ece"] - 0.05
        assert scaled["nll"] < raw["nll"] - 0.03
        assert scaled["accuracy_change"] == 0


def test_splits_are_disjoint_and_only_training_labels_are_wrong(context):
    images, labels = digits()
    order = Streams("calibration/digits", 0).numpy("data").permutation(len(images))
    model = context.fixture(DigitsBaseModel(seed=0))
    assert (model.calibration_labels == labels[order[300:700]]).all()
    assert (model.test_labels == labels[order[700:]]).all()
    assert model.calibration.logits.shape == (400, 10)
    assert model.test["none"].logits.shape == (1097, 10)


def test_noise_in_every_split_flips_the_exact_share(context):
    _, labels = digits()
    order = Streams("calibration/digits", 3).numpy("data").permutation(len(labels))
    model = context.fixture(DigitsBaseModel(other_noise=0.25, epochs=1, seed=3))
    assert (model.calibration_labels != labels[order[300:700]]).sum() == 100
    assert (model.test_labels != labels[order[700:]]).sum() == 274


def test_a_method_sees_no_test_label(context):
    """Everything reachable from what the task passes: calibration labels, logits, and a generator."""
    seen = []

    class Spy(Calibrator, name="spy"):
        def fit(self, calibration, rng):
            seen.extend([calibration.outputs.logits, *calibration.outputs.transformed.values(), calibration.labels])

            def calibrate(outputs):
                assert set(Outputs.__slots__) == {"logits", "transformed"}
                seen.extend([outputs.logits, *outputs.transformed.values()])
                return np.full(outputs.logits.shape, 0.1)

            return calibrate

    DigitsCalibration().run(Spy(), 0, context)
    model = context.fixture(DigitsBaseModel(seed=0))
    assert not any(np.array_equal(array, model.test_labels) for array in seen)
    assert sum(array.dtype == np.int64 for array in seen) == 1
    assert not any(array.base is model.test_labels for array in seen)


def test_reliability_curves_add_up_to_the_test_split_and_the_ece(context):
    measured = DigitsCalibration().run(NoCalibration(), 0, context)
    bins, counts = measured.curves["reliability_count"]
    filled, accuracy = measured.curves["reliability_accuracy"]
    _, confidence = measured.curves["reliability_confidence"]
    assert bins == list(range(15))
    assert sum(counts) == 1097
    gaps = np.abs(np.array(accuracy) - np.array(confidence)) * np.array(counts)[filled]
    assert gaps.sum() / 1097 == pytest.approx(measured.metrics["ece"], abs=1e-12)


OUTPUTS = Outputs(np.zeros((40, 3)), {})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.full((40, 2), 0.5), r"shape \(40, 2\) where \(40, 3\) was due"),
        (np.full((40, 3), 0.3), "sums to 0.9, not to 1"),
        (np.tile([1.5, -0.5, 0.0], (40, 1)), "negative probability"),
        (np.tile([np.nan, 0.5, 0.5], (40, 1)), "40 values that are not finite"),
        ("certain", "not an array of probabilities"),
        (torch.full((40, 3), 1 / 3, requires_grad=True), "not an array of probabilities .*requires grad"),
        (None, "not finite|shape"),
    ],
)
def test_what_is_not_a_probability_is_refused_in_one_sentence(values, sentence):
    with pytest.raises(InvalidResult, match=sentence):
        checked_probabilities(lambda outputs: values, OUTPUTS)


def test_a_map_that_looks_at_the_other_rows_is_refused():
    def transductive(outputs):
        probabilities = np.full((len(outputs.logits), 3), 0.25)
        probabilities[:, 0] = 0.5 if len(outputs.logits) == 40 else 0.25
        probabilities[:, 1] = 1 - probabilities[:, 0] - 0.25
        return probabilities

    with pytest.raises(InvalidResult, match="each input by itself"):
        checked_probabilities(transductive, OUTPUTS)


def test_shifts_hurt_and_copies_differ(context):
    model = context.fixture(DigitsBaseModel(train_noise=0.0, seed=0))

    def accuracy(logits):
        return (logits.argmax(axis=1) == model.test_labels).mean()

    plain = accuracy(model.test["none"].logits)
    for shift, outputs in model.test.items():
        if shift != "none":
            assert accuracy(outputs.logits) < plain - 0.05
    copies = [outputs for view in model.test.values() for outputs in (view.logits, *view.transformed.values())]
    assert len({copy.tobytes() for copy in copies}) == len(copies) == 5 * 4


def test_temperature_bounds_must_be_ordered():
    assert Temperature(low=2, high=1).infeasible() == "low=2 must be below high=1."
    assert Temperature().infeasible() is None
