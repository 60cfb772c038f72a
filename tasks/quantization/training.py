"""Training with cheaper numbers: half precision with loss scaling, and linear layers that remember only a sketch of their input."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from tasks.api import Context, Measured, Method, Metric, Task
from tasks.datasets import digits_fingerprint
from tasks.errors import InvalidResult
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.digit_base import split
from tasks.quantization.digit_nets import CLASSES, SIDE

BATCH = 128
MOMENTUM = 0.9
EIGHT = 2 ** torch.arange(8, dtype=torch.uint8)  #: place values of the bits of a byte


class Arithmetic:
    """How the steps of one training run are computed; this one is plain float32. Methods override what they do otherwise."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = [parameter.clone() for parameter in parameters]
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]

    def weights(self) -> list[Tensor]:
        """Leaf tensors that the network runs with in this step: weight [out, in] and bias [out] of each layer."""
        return [parameter.detach().requires_grad_(True) for parameter in self.parameters]

    def inputs(self, x: Tensor) -> Tensor:
        """Images [batch, 64] float32 in the type that the network computes in."""
        return x

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x W^T + b, [batch, out]."""
        return F.linear(x, weight, bias)

    def gradients(self, loss: Tensor, weights: list[Tensor]) -> list[Tensor]:
        """Gradients of `loss` in float32 at its own scale; those that are not finite make the step be skipped."""
        return list(torch.autograd.grad(loss, weights))

    def update(self, gradients: list[Tensor], rate: float) -> None:
        """One step of gradient descent with momentum."""
        for parameter, velocity, gradient in zip(self.parameters, self.velocities, gradients, strict=True):
            velocity.mul_(MOMENTUM).add_(gradient)
            parameter.sub_(rate * velocity)

    def result(self) -> list[Tensor]:
        """The network's parameters in float32."""
        return [parameter.float() for parameter in self.parameters]


class TrainingNumerics(Method, family="quantization"):
    """How training is computed: what is kept for the backward pass, in which type, and how weights are updated."""

    @abstractmethod
    def start(self, parameters: Sequence[Tensor], generator: torch.Generator) -> Arithmetic:
        """The arithmetic of a run that starts from `parameters` (float32); `generator` is the method's random stream."""


class PackedRelu(torch.autograd.Function):
    """ReLU that remembers one bit per value, so that what linear layers keep decides the memory."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        mask = x > 0
        padded = F.pad(mask.flatten().to(torch.uint8), (0, -mask.numel() % 8)).view(-1, 8)
        context.save_for_backward((padded * EIGHT).sum(1, dtype=torch.uint8))
        return torch.where(mask, x, torch.zeros((), dtype=x.dtype))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (packed,) = context.saved_tensors
        gradient = gradients[0]
        mask = (packed[:, None] & EIGHT).ne(0).flatten()[: gradient.numel()].view_as(gradient)
        return torch.where(mask, gradient, torch.zeros((), dtype=gradient.dtype))


def network(arithmetic: Arithmetic, weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Logits [batch, 10] float32 of the perceptron computed by `arithmetic`."""
    x = arithmetic.inputs(x)
    for place in range(0, len(weights), 2):
        x = arithmetic.linear(x, weights[place], weights[place + 1])
        if place + 2 < len(weights):
            x = PackedRelu.apply(x)
    return x.float()


@contextmanager
def counting_saved(weights: Sequence[Tensor]) -> Iterator[list[int]]:
    """The bytes of every tensor that autograd keeps while the context is open; storage that two share counts once, weights not at all."""
    seen = {weight.untyped_storage().data_ptr() for weight in weights}
    sizes: list[int] = []
    kept: list[Tensor] = []  # so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        pointer = tensor.untyped_storage().data_ptr()
        if pointer not in seen:
            seen.add(pointer)
            kept.append(tensor)
            sizes.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def saved_bytes(arithmetic: Arithmetic, x: Tensor, y: Tensor) -> int:
    """Bytes kept for the backward pass of one batch, its images included."""
    weights = arithmetic.weights()
    with counting_saved(weights) as sizes:
        F.cross_entropy(network(arithmetic, weights, x.clone()), y.clone())
    return sum(sizes)


class TrainingTask(
    Task, family="quantization", name="training", label="Training numerics", accepts=(TrainingNumerics,), timeout=300.0, seconds=2.0
):
    """Train a perceptron on digits by gradient descent with momentum; the method decides in which numbers.

    The task owns network, batches and loss, counts the bytes that autograd keeps for the backward pass, and compares gradients with exact
    ones on the first batch of each epoch. `exponent` divides the loss by a power of two and multiplies the rate by it: in float32 nothing
    changes, to the bit; in half precision gradients vanish. Bytes that a method keeps behind autograd's back (attributes of a context) are
    not seen.
    """

    preset: Literal["quick", "standard"] = Field("quick", description="sets hidden and train_epochs unless they are given")
    hidden: int = Field(64, ge=8, le=2048, description="units of each of the two hidden layers")
    train_epochs: int = Field(5, ge=1, le=1000)
    exponent: int = Field(0, ge=0, le=40, description="the loss is divided by 2^exponent, the rate multiplied")
    rate: float = Field(0.1, gt=0, description="of gradient descent with momentum 0.9")

    check_params: ClassVar = {"hidden": 16, "train_epochs": 1}
    metrics: ClassVar = (
        Metric("accuracy", "1", "higher", "test accuracy of the trained network in float32", primary=True, low=0, high=1),
        Metric("test_loss", "nat", "lower", "cross-entropy on the test images", low=0, finite=False),
        Metric("saved_bytes", "byte", "lower", "kept by autograd for the backward pass of a batch of 128, without weights", low=0),
        Metric("saved_share", "1", "lower", "saved bytes over those of float32", low=0),
        Metric("flushed_share", "1", "lower", "share of gradient entries that are 0 where the exact ones are not", low=0, high=1),
        Metric("gradient_error", "1", "lower", "mean squared error of the gradients over their mean square", low=0, finite=False),
        Metric("skipped_share", "1", "lower", "share of steps left out because a gradient was not finite", low=0, high=1),
        Metric("train_seconds", "s", "lower", "CPU seconds of training, the comparison of gradients included", low=0),
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        standard = {"hidden": 256, "train_epochs": 20}
        return (standard if given.get("preset") == "standard" else {}) | given if isinstance(given, dict) else given

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, TrainingNumerics)
        data, streams = split(seed), self.streams(seed)
        images, test_images = data.images.flatten(1), data.test_images.flatten(1)
        with one_thread():
            arithmetic = method.start(self.initial(streams.torch("init")), streams.torch("method"))
            started = time.thread_time()
            kept = saved_bytes(arithmetic, images[:BATCH], data.labels[:BATCH])
            full = saved_bytes(Arithmetic(arithmetic.result()), images[:BATCH], data.labels[:BATCH])
            flushed, errors, skipped, steps = [], [], 0, 0
            order = streams.torch("order")
            for _ in range(self.train_epochs):
                for place, rows in enumerate(torch.randperm(len(images), generator=order).split(BATCH)):
                    x, y = images[rows], data.labels[rows]
                    weights = arithmetic.weights()
                    found = arithmetic.gradients(self._loss(arithmetic, weights, x, y), weights)
                    if place == 0:
                        share, error = self._compare(arithmetic, found, x, y)
                        flushed.append(share)
                        errors.append(error)
                    steps += 1
                    if all(bool(torch.isfinite(gradient).all()) for gradient in found):
                        arithmetic.update(found, self.rate * 2.0**self.exponent)
                    else:
                        skipped += 1
            seconds = time.thread_time() - started
            parameters = self._accepted(arithmetic.result(), method)
            with torch.no_grad():
                logits = network(Arithmetic(parameters), parameters, test_images)
        return Measured(
            {
                "accuracy": float((logits.argmax(1) == data.test_labels).double().mean()),
                "test_loss": float(F.cross_entropy(logits, data.test_labels)),
                "saved_bytes": kept,
                "saved_share": kept / full,
                "flushed_share": sum(flushed) / len(flushed),
                "gradient_error": sum(errors) / len(errors),
                "skipped_share": skipped / steps,
                "train_seconds": seconds,
            }
        )

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Weight and bias of each layer: He initialisation, zero biases."""
        sizes, parameters = (SIDE**2, self.hidden, self.hidden, CLASSES), []
        for fan_in, out in pairwise(sizes):
            parameters += [torch.randn(out, fan_in, generator=generator) * (2 / fan_in) ** 0.5, torch.zeros(out)]
        return parameters

    def _loss(self, arithmetic: Arithmetic, weights: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            return F.cross_entropy(network(arithmetic, weights, x), y) * 2.0**-self.exponent

    def _compare(self, arithmetic: Arithmetic, found: list[Tensor], x: Tensor, y: Tensor) -> tuple[float, float]:
        """Share of entries that vanished, and relative squared error, against float32 at the same weights."""
        exact = Arithmetic(arithmetic.result())
        weights = exact.weights()
        truth = torch.cat([part.flatten() for part in exact.gradients(self._loss(exact, weights, x, y), weights)]).double()
        ours = torch.cat([part.detach().flatten() for part in found]).double()
        alive = truth != 0
        share = float((ours[alive] == 0).double().mean()) if bool(alive.any()) else 0.0
        return share, float((ours - truth).square().sum() / truth.square().sum().clamp(min=1e-300))

    def _accepted(self, parameters: list[Tensor], method: Method) -> list[Tensor]:
        wanted = [tuple(value.shape) for value in self.initial(torch.Generator().manual_seed(0))]
        if [tuple(value.shape) for value in parameters] != wanted or any(value.dtype != torch.float32 for value in parameters):
            raise InvalidResult(f"{method.name}: result must return float32 parameters of shapes {wanted}.")
        return [value.detach() for value in parameters]
