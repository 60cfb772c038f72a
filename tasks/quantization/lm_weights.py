"""Weight-only quantization of a byte-level language model."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from tasks.api import Context, Measured, Method, Metric
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.corpus import standard_library
from tasks.quantization.evaluate import measure, quantise, quantise_model
from tasks.quantization.lm_task import LanguageModelTask
from tasks.quantization.protocol import ModelQuantizer, Quantizer


class LmWeights(
    LanguageModelTask, name="lm-weights", label="Language-model weights", accepts=(Quantizer, ModelQuantizer), timeout=600.0, seconds=3.0
):
    """Quantise the weight matrices of a byte-level GPT trained on the Python standard library's source; embedding and norms stay float32.

    A seed is one paired draw of everything that is random: its model (`seed` modulo `models`: initial weights and batch order), its
    calibration windows, its held-out evaluation windows and the method's own randomness. Two methods with the same seed share all of it
    but the last. With `models` at least the number of seeds, an interval over seeds speaks about models trained by this recipe; with fewer,
    as in `quick`, only about windows of those models.
    """

    calibration: int = Field(128, ge=1, le=4096, description="calibration windows of 128 bytes from the training text")

    check_params: ClassVar = {"preset": "smoke", "models": 1, "calibration": 8, "windows": 8}
    metrics: ClassVar = (
        Metric(
            "bits_per_byte_increase",
            "bit/byte",
            "lower",
            "held-out cross-entropy of the quantised model minus that of its float32 base on the same windows",
            primary=True,
        ),
        Metric("bits_per_byte", "bit/byte", "lower", "held-out cross-entropy of the quantised model", low=0),
        Metric("bits_per_weight", "bit/weight", "lower", "bits of everything stored for the quantised matrices per weight", low=0),
        Metric("relative_increase", "1", "lower", "increase over the cross-entropy of the float32 base"),
        Metric(
            "size_reduction", "1", "higher", "1 - bytes over those of the float16 model; embedding, positions and norms in float16 in both"
        ),
        Metric("kl", "bit/byte", "lower", "mean divergence KL(float32 || quantised) of the next-byte distributions", low=-1e-6),
        Metric("output_error", "1", "lower", "||(Q(W)-W)x||^2 / ||Wx||^2 on held-out inputs of the float32 model, mean over layers", low=0),
        Metric("weight_error", "1", "lower", "||Q(W)-W||^2 / ||W||^2, mean over layers", low=0),
        Metric("quantise_seconds", "s", "lower", "CPU seconds spent in the method's quantize, all layers", low=0),
    )

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        with one_thread(), torch.no_grad():
            model = context.fixture(self.base(seed))
            windows, truth = self.held_out(model, seed)
            generator = self.streams(seed).torch("method")
            if isinstance(method, ModelQuantizer):
                quantised = quantise_model(method, model, standard_library().train, generator)
            else:
                assert isinstance(method, Quantizer)
                quantised = quantise(method, model, lambda: self.calibration_batches(model, seed, self.calibration), generator)
            metrics, info = measure(model, quantised, windows, truth)
        return Measured(metrics, info={"model_seed": self.base(seed).seed, **info})
