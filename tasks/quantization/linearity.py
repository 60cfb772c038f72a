"""Does the loss grow as the linearity theorem says?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from tasks.api import Context, Fixture, Measured, Method, Metric
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.evaluate import errors_of, measure, quantise
from tasks.quantization.lm_task import LanguageModelTask
from tasks.quantization.protocol import Quantizer
from tasks.quantization.sensitivity import ByteGptSensitivity


class Linearity(LanguageModelTask, name="linearity", label="Linearity of the loss", accepts=(Quantizer,), timeout=600.0, seconds=4.0):
    """Predict a quantised model's loss increase as sum_l alpha_l t_l^2 (paper 6) and compare with what it is.

    alpha comes from Gaussian noise on training text, t^2 from the quantised weights, the actual increase from held-out windows.
    The theorem needs errors that ignore the loss: methods that steer their error into harmless directions should fail it.
    """

    calibration: int = Field(128, ge=1, le=4096, description="calibration windows of 128 bytes from the training text")
    windows: int = Field(512, ge=8, le=4096, description="evaluation windows of 128 bytes from the held-out text")

    check_params: ClassVar = {"preset": "smoke", "models": 1, "calibration": 8, "windows": 8}
    metrics: ClassVar = (
        Metric(
            "prediction_error",
            "1",
            "lower",
            "|log2| of actual over predicted increase; 10 when the actual one is not positive",
            primary=True,
            low=0,
        ),
        Metric("bits_per_byte_increase", "bit/byte", "none", "actual increase of held-out cross-entropy"),
        Metric("predicted_increase", "bit/byte", "none", "sum of alpha t^2 over the layers"),
        Metric("increase_ratio", "1", "none", "actual over predicted increase"),
        Metric("bits_per_weight", "bit/weight", "lower", "bits of everything stored for the quantised matrices per weight", low=0),
    )

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (self.base(seed), ByteGptSensitivity(base=self.base(seed)))

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, Quantizer)
        alpha = context.fixture(ByteGptSensitivity(base=self.base(seed))).noise
        with one_thread(), torch.no_grad():
            model = context.fixture(self.base(seed))
            windows, truth = self.held_out(model, seed)
            quantised = quantise(
                method, model, lambda: self.calibration_batches(model, seed, self.calibration), self.streams(seed).torch("method")
            )
            metrics, _ = measure(model, quantised, windows, truth)
            errors = {
                name: errors_of(layer.weight, quantised.layers[name].weight, truth.grams[name])[0]
                for name, layer in model.matrices().items()
            }
        actual, predicted = metrics["bits_per_byte_increase"], sum(alpha[name] * error for name, error in errors.items())
        ratio = actual / predicted if abs(predicted) > 1e-12 else 1.0
        return Measured(
            {
                "prediction_error": float(abs(np.log2(ratio))) if 2**-10 < ratio < 2**10 else 10.0,
                "bits_per_byte_increase": actual,
                "predicted_increase": predicted,
                "increase_ratio": ratio,
                "bits_per_weight": metrics["bits_per_weight"],
            },
            info={
                "model_seed": self.base(seed).seed,
                "alpha": alpha,
                "weight_errors": {name: float(f"{e:.4g}") for name, e in errors.items()},
            },
        )
