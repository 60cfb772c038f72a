"""How well can the loss increase of a quantised model be predicted from gradients?"""

from __future__ import annotations

import copy
import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tasks.api import Context, Measured, Method, Metric
from tasks.errors import InvalidResult
from tasks.quantization import affine
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.gpt import Gpt, loss_of
from tasks.quantization.lm_task import LanguageModelTask


class LossPredictor(Method, family="quantization"):
    """Predicts the loss increase that a known change of the weights causes."""

    @abstractmethod
    def predict(self, model: Gpt, changes: Mapping[str, Tensor], windows: Tensor, generator: torch.Generator) -> float:
        """Increase of the mean cross-entropy of `windows` [n, context + 1], in nats per byte, when `changes` [out, in] are added to the
        matrices of the same names. `model` is the method's own copy; its matrices require gradients, the rest does not."""


class LossPrediction(
    LanguageModelTask, name="loss-prediction", label="Prediction of the loss increase", accepts=(LossPredictor,), timeout=900.0, seconds=8.0
):
    """Quantise all matrices of the byte-level GPT to the nearest value (groups of 128) and predict what that does to the loss.

    Prediction and truth refer to the same windows of training text, so the error is the method's alone.
    """

    bits: int = Field(3, ge=2, le=8)
    windows: int = Field(16, ge=2, le=1024, description="windows of training text")

    check_params: ClassVar = {"preset": "smoke", "models": 1, "windows": 4}
    metrics: ClassVar = (
        Metric("relative_error", "1", "lower", "|predicted - actual| / |actual|", primary=True, low=0),
        Metric("predicted_share", "1", "none", "predicted over actual increase"),
        Metric("shortfall", "1", "higher", "1 - predicted over actual increase: how much of the increase the method misses"),
        Metric("predicted_increase", "bit/byte", "none", "what the method says"),
        Metric("bits_per_byte_increase", "bit/byte", "none", "what the model does on the same windows"),
        Metric("predict_seconds", "s", "lower", "CPU seconds of the prediction", low=0),
    )

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, LossPredictor)
        with one_thread():
            model = copy.deepcopy(context.fixture(self.base(seed)))
            windows = self.calibration_windows(model, seed, self.windows)
            changes = {}
            for name, layer in model.matrices().items():
                rows = affine.split(layer.weight.detach(), "group", 128)
                nearest = affine.fit(rows, self.bits, False).nearest(rows)
                changes[name] = affine.join(nearest, (layer.out_features, layer.in_features)) - layer.weight.detach()
            with torch.no_grad():
                before = float(loss_of(model, windows))
                moved = copy.deepcopy(model)
                for name, layer in moved.matrices().items():
                    layer.weight.add_(changes[name])
                actual = (float(loss_of(moved, windows)) - before) / math.log(2)
            for layer in model.matrices().values():
                layer.weight.requires_grad_(True)
            started = time.thread_time()
            predicted = float(method.predict(model, changes, windows, self.streams(seed).torch("method"))) / math.log(2)
            seconds = time.thread_time() - started
        if actual == 0:
            raise InvalidResult("The quantised model has exactly the loss of the float32 model; there is nothing to predict.")
        return Measured(
            {
                "relative_error": abs(predicted - actual) / abs(actual),
                "predicted_share": predicted / actual,
                "shortfall": 1 - predicted / actual,
                "predicted_increase": predicted,
                "bits_per_byte_increase": actual,
                "predict_seconds": seconds,
            },
            info={"model_seed": self.base(seed).seed},
        )


def gradients(model: Gpt, windows: Tensor) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy in every matrix."""
    matrices = model.matrices()
    found = torch.autograd.grad(loss_of(model, windows), [layer.weight for layer in matrices.values()])
    return dict(zip(matrices, found, strict=True))
