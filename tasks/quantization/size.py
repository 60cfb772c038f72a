"""Size of a whole model after lossless coding: how small can the file be before the model gets worse?"""

from __future__ import annotations

import copy
import math
import struct
import time
import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tasks.api import Context, Fixture, Measured, Method, Metric, Task
from tasks.datasets import digits_fingerprint
from tasks.errors import InvalidResult
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.corpus import standard_library
from tasks.quantization.decoder import decoder
from tasks.quantization.evaluate import BATCH
from tasks.quantization.gpt import batches
from tasks.quantization.lm_task import LanguageModelTask
from tasks.quantization.model_codec import Shapes
from tasks.quantization.size_model import DigitsConvNet


@dataclass(frozen=True)
class Compressible:
    """What a compressor is handed: its own copy of the trained model, and the model's own training data.

    Every entry of `model.state_dict()` has to be stored. `batch()` gives the next training batch: inputs and class labels, the labels
    aligned with the model's outputs flattened to [n, classes].
    """

    model: nn.Module
    batch: Callable[[], tuple[Tensor, Tensor]]
    generator: torch.Generator

    def tensors(self) -> dict[str, Tensor]:
        """Everything to be stored, float32, by name."""
        return {name: tensor.detach().float() for name, tensor in self.model.state_dict().items()}

    def float32_bytes(self) -> int:
        return sum(4 * tensor.numel() for tensor in self.model.state_dict().values())

    def outputs(self, tensors: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Logits [n, classes] of the model with these tensors in place of its own; differentiable in them."""
        return torch.func.functional_call(self.model, dict(tensors), (inputs,)).flatten(0, -2)


class ModelCompressor(Method, family="quantization"):
    """Turns a trained model into bytes. The evaluator counts them and runs the model that comes back from them alone."""

    @abstractmethod
    def compress(self, problem: Compressible) -> bytes:
        """The whole model as bytes: weights, biases, norms, embeddings, tables and headers. Names and shapes are known to the reader."""

    @staticmethod
    @abstractmethod
    def decompress(data: bytes, shapes: Shapes) -> dict[str, Tensor]:
        """Every tensor of the model, float32, from the bytes alone."""


def through_bytes(method: ModelCompressor, problem: Compressible, base: nn.Module) -> tuple[dict[str, Tensor], int, float]:
    """Compress, decode in a process of its own, which does not have the weights of `base` or of its copy in `problem`, and check: the
    tensors, the bytes' number, and the CPU seconds of `compress`."""
    weights = [tensor for model in (base, problem.model) for tensor in (*model.parameters(), *model.buffers())]
    shapes = {name: tuple(tensor.shape) for name, tensor in problem.model.state_dict().items()}
    with decoder(partial(_decode, method.decompress), method.name, weights) as decode:
        started = time.thread_time()
        with torch.enable_grad():
            data = method.compress(problem)
        seconds = time.thread_time() - started
        if not isinstance(data, bytes) or not data:
            raise InvalidResult(f"{method.name}: compress must return bytes, not {type(data).__name__}.")
        try:
            arrays = decode(data, shapes)
        except (KeyError, IndexError, RuntimeError, TypeError, ValueError, struct.error, zlib.error, LZMAError) as error:
            raise InvalidResult(f"{method.name}: decompress can't read the bytes: {type(error).__name__}: {error}.") from error
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise InvalidResult(f"{method.name}: decompress must return exactly the model's tensors: {', '.join(shapes)}.")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise InvalidResult(f"{method.name}: the decompressed tensors hold NaN or infinity.")
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, len(data), seconds


def _decode(decompress: Callable[[bytes, Shapes], dict[str, Tensor]], data: bytes, shapes: Shapes) -> dict[str, np.ndarray]:
    return {name: tensor.detach().float().numpy() for name, tensor in decompress(data, shapes).items()}


_SIZE_METRICS = (
    Metric("compressed_share", "1", "lower", "bytes of the whole model over those of its float32 tensors", low=0),
    Metric("compression_ratio", "1", "higher", "bytes of the float32 tensors over those stored", low=0),
    Metric("bytes", "B", "lower", "bytes stored for the whole model: codes, tables, headers, embeddings, norms, biases", low=0),
    Metric("compress_seconds", "s", "lower", "CPU seconds to compress, training of the method included", low=0),
)


def _size_metrics(problem: Compressible, size: int, seconds: float) -> dict[str, float]:
    ratio = problem.float32_bytes() / size
    return {"compressed_share": 1 / ratio, "compression_ratio": ratio, "bytes": size, "compress_seconds": seconds}


class Size(
    Task, family="quantization", name="size", label="Size of a digits network", accepts=(ModelCompressor,), timeout=300.0, seconds=2.0
):
    """Compress a small convolutional network for handwritten digits to as few bytes as possible; its accuracy on untouched images decides.

    A seed is a split (70 to 30, stratified), a network trained on it, and the method's own randomness.
    """

    epochs: int = Field(60, ge=1, description="epochs of the float32 network")

    presets: ClassVar = {"quick": {"epochs": 10}, "standard": {}}
    check_params: ClassVar = {"epochs": 1}
    metrics: ClassVar = (
        Metric("accuracy_loss", "1", "lower", "test accuracy of the float32 network minus that of the decompressed one", primary=True),
        Metric("accuracy", "1", "higher", "test accuracy of the decompressed network", low=0, high=1),
        Metric("kl", "bit", "lower", "mean divergence KL(float32 || decompressed) of the class distributions on test images", low=-1e-6),
        *_SIZE_METRICS,
    )

    def base(self, seed: int) -> DigitsConvNet:
        return DigitsConvNet(seed=seed, epochs=self.epochs)

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (self.base(seed),)

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, ModelCompressor)
        with one_thread(), torch.no_grad():
            base = context.fixture(self.base(seed))
            order = self.streams(seed).numpy("data")

            def batch() -> tuple[Tensor, Tensor]:
                rows = torch.from_numpy(order.integers(len(base.train_images), size=64))
                return base.train_images[rows], base.train_labels[rows]

            problem = Compressible(copy.deepcopy(base.model), batch, self.streams(seed).torch("method"))
            tensors, size, seconds = through_bytes(method, problem, base.model)
            plain = F.log_softmax(base.model(base.test_images), -1)
            ours = F.log_softmax(torch.func.functional_call(base.model, tensors, (base.test_images,)), -1)
        before, after = (float((outputs.argmax(1) == base.test_labels).double().mean()) for outputs in (plain, ours))
        return Measured(
            {
                "accuracy_loss": before - after,
                "accuracy": after,
                "kl": _bits_of_divergence(plain, ours),
                **_size_metrics(problem, size, seconds),
            },
            info={"float32_accuracy": round(before, 6), "float32_bytes": problem.float32_bytes()},
        )


def _bits_of_divergence(truth: Tensor, other: Tensor) -> float:
    return float((truth.double().exp() * (truth.double() - other.double())).sum(-1).mean()) / math.log(2)


class LanguageModelSize(
    LanguageModelTask,
    name="size-lm",
    label="Size of a language model",
    accepts=(ModelCompressor,),
    timeout=900.0,
    seconds=8.0,
):
    """Compress a byte-level GPT, embedding, positions and norms included, to as few bytes as possible.

    A seed is one paired draw of the model (`seed` modulo `models`), training batches, held-out windows and the method's randomness.
    """

    batch: int = Field(8, ge=1, description="windows per training batch that a method sees")

    check_params: ClassVar = {"preset": "smoke", "models": 1, "windows": 8, "batch": 1}
    metrics: ClassVar = (
        Metric("relative_increase", "1", "lower", "increase of the held-out cross-entropy over that of the float32 model", primary=True),
        Metric("bits_per_byte_increase", "bit/byte", "lower", "held-out cross-entropy minus that of the float32 model on the same windows"),
        Metric("kl", "bit/byte", "lower", "mean divergence KL(float32 || decompressed) of the next-byte distributions", low=-1e-6),
        *_SIZE_METRICS,
    )

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, ModelCompressor)
        with one_thread(), torch.no_grad():
            model = context.fixture(self.base(seed))
            windows, truth = self.held_out(model, seed)
            stream = batches(standard_library().train, self.batch, model.context, self.streams(seed).numpy("data"))

            def batch() -> tuple[Tensor, Tensor]:
                text = next(stream)
                return text[:, :-1], text[:, 1:].flatten()

            problem = Compressible(copy.deepcopy(model), batch, self.streams(seed).torch("method"))
            tensors, size, seconds = through_bytes(method, problem, model)
            rebuilt = copy.deepcopy(model)
            rebuilt.load_state_dict(tensors)
            loss = divergence = 0.0
            for start in range(0, len(windows), BATCH):
                part = windows[start : start + BATCH]
                ours = F.log_softmax(rebuilt(part[:, :-1]), -1)
                loss -= float(ours.gather(-1, part[:, 1:, None]).double().sum()) / math.log(2)
                divergence += _bits_of_divergence(truth.log_probabilities[start : start + BATCH], ours) * len(part)
        positions = windows.shape[0] * (windows.shape[1] - 1)
        base = float(truth.bits_per_byte.mean())
        increase = loss / positions - base
        info: dict[str, Any] = {"model_seed": self.base(seed).seed, "float32_bits_per_byte": round(base, 6)}
        return Measured(
            {
                "relative_increase": increase / base,
                "bits_per_byte_increase": increase,
                "kl": divergence / len(windows),
                **_size_metrics(problem, size, seconds),
            },
            info=info,
        )
