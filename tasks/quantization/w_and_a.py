"""Post-training quantization of weights and activations of small networks on digits."""

from __future__ import annotations

import copy
import time
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from tasks.api import Context, Fixture, Measured, Method, Metric, Task
from tasks.datasets import digits_fingerprint
from tasks.errors import InvalidResult
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.digit_base import DigitsNetwork, DigitSplit, split, wake_optimizers
from tasks.quantization.digit_nets import Architecture, DigitNet
from tasks.quantization.evaluate import Quantised, decoding, rebuild
from tasks.quantization.networks import (
    TRAINING_IMAGES,
    Deployed,
    NetworkProblem,
    NetworkQuantizer,
    Ranges,
    calibrated,
    deploy,
    install_activations,
)
from tasks.quantization.protocol import CALIBRATION, Inputs, Quantizer

#: What each preset sets, by architecture. Transformers learn digits slowly, so theirs are longer.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "quick": {"cnn": {"width": 8, "base_epochs": 6}, "vit": {"width": 16, "base_epochs": 6}},
    "standard": {"cnn": {"width": 8, "base_epochs": 20}, "vit": {"width": 32, "base_epochs": 40}},
}


class WeightsAndActivations(
    Task,
    family="quantization",
    name="w-and-a",
    label="Weights and activations",
    accepts=(Quantizer, NetworkQuantizer),
    timeout=300.0,
    seconds=1.0,
):
    """Quantise every matrix of a trained network and every activation that meets one; test on untouched digits.

    A method for weight matrices works layer by layer on a network whose activations are rounded already, on grids that the task calibrates;
    a method for networks decides everything but the activations' bits. A seed draws split, network, calibration images and the method's
    randomness. First and last layer are no exception.
    """

    preset: Literal["quick", "standard"] = Field("quick", description="sets width and base_epochs unless they are given")
    architecture: Architecture = Field("cnn", description="residual CNN with four convolutions, or a vision transformer of three blocks")
    width: int = Field(8, ge=4, le=64, description="channels of the CNN's first half; the transformer's model dimension")
    base_epochs: int = Field(6, ge=0, description="of the float32 network")
    activation_bits: int = Field(8, ge=2, le=8)
    ranges: Ranges = Field("minmax", description="how the task calibrates activations for methods that quantise weights only")
    calibration: int = Field(256, ge=8, le=1257, description="calibration images, from the training split")
    epochs: int = Field(10, ge=0, description="epochs that a method with the training images may train")

    check_params: ClassVar = {"width": 4, "base_epochs": 1, "calibration": 16, "epochs": 1}
    metrics: ClassVar = (
        Metric(
            "accuracy_drop", "1", "lower", "test accuracy of the float32 network minus that of the quantised", primary=True, low=-1, high=1
        ),
        Metric("accuracy", "1", "higher", "test accuracy of the quantised network", low=0, high=1),
        Metric("agreement", "1", "higher", "share of test images that both networks put into the same class", low=0, high=1),
        Metric("logit_sqnr", "dB", "higher", "10 log10 of the test logits' energy over that of their error"),
        Metric("bits_per_weight", "bit/weight", "lower", "bits of everything stored for the matrices per weight", low=0),
        Metric("size_bytes", "byte", "lower", "stored matrices, float16 biases and gains, and activation grids", low=0),
        Metric("quantise_seconds", "s", "lower", "CPU seconds spent in the method", low=0),
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return PRESETS.get(str(given.get("preset", "quick")), {}).get(str(given.get("architecture", "cnn")), {}) | given

    def base(self, seed: int) -> DigitsNetwork:
        """The recipe of the seed's network."""
        return DigitsNetwork(architecture=self.architecture, width=self.width, epochs=self.base_epochs, seed=seed)

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (self.base(seed),)

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        data, streams = split(seed), self.streams(seed)
        with one_thread():
            network = context.fixture(self.base(seed))
            rows = streams.numpy("data").permutation(len(data.labels))[: self.calibration]
            images = data.images[torch.from_numpy(np.sort(rows))]
            if isinstance(method, Quantizer):
                with torch.no_grad():
                    deployed, seconds = self._weights(method, network, images, streams.torch("method"))
            else:
                assert isinstance(method, NetworkQuantizer)
                problem = NetworkProblem(copy.deepcopy(network), images, self.activation_bits, streams.torch("method"))
                if TRAINING_IMAGES in method.knowledge:
                    problem = problem.with_training(data.images, data.labels, self.epochs, streams.numpy("order"))
                wake_optimizers()
                started = time.thread_time()
                quantised = method.quantize_network(problem)
                seconds = time.thread_time() - started
                deployed = deploy(network, quantised, method.name)
                if wide := [name for name, width in deployed.activation_widths.items() if width > self.activation_bits]:
                    width = deployed.activation_widths[wide[0]]
                    raise InvalidResult(
                        f"{method.name}: the activation {wide[0]} has {width} bits; the task allows {self.activation_bits}."
                    )
            metrics = compare(network, deployed, data)
        return Measured({**metrics, "quantise_seconds": seconds}, info={"float32_accuracy": metrics["accuracy"] + metrics["accuracy_drop"]})

    def _weights(self, method: Quantizer, network: DigitNet, images: Tensor, generator: torch.Generator) -> tuple[Deployed, float]:
        """Quantise matrix after matrix of a network whose activations are on grids; inputs are what the quantised part makes of them."""
        working = network.folded()
        grids = calibrated(working, images, self.activation_bits, self.ranges)
        rest_bits = install_activations(working, grids, method.name) + 16 * sum(value.numel() for value in working.rest().values())
        layers, seconds = {}, 0.0
        for name, value in working.named_parameters():
            if name in working.rest():
                value.copy_(value.half().float())
        with decoding(type(method), [network], [working]) as decode:
            for name, layer in working.matrices().items():
                inputs = Inputs(layer_inputs(working, layer, images)) if CALIBRATION in method.knowledge else None
                matrix = layer.weight.detach().flatten(1)
                started = time.thread_time()
                packed = method.quantize(matrix.clone(), inputs, generator)
                seconds += time.thread_time() - started
                layers[name] = rebuild(decode, packed, matrix, f"{method.name} on {name}")
                layer.weight.copy_(layers[name].weight.view_as(layer.weight))
        bits = Quantised(layers, seconds).bits()
        return Deployed(working.eval(), bits, rest_bits, {}, dict.fromkeys(grids, self.activation_bits)), seconds


def layer_inputs(network: DigitNet, layer: nn.Conv2d | nn.Linear, images: Tensor) -> Tensor:
    """What the layer's matrix is multiplied with while the network runs on `images`, [samples, in]; a convolution's patches are rows."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    try:
        network(images)
    finally:
        hook.remove()
    if isinstance(layer, nn.Linear):
        return seen[0].flatten(0, -2)
    patches = F.unfold(seen[0], layer.kernel_size, padding=layer.padding, stride=layer.stride)  # type: ignore[arg-type]
    return patches.transpose(1, 2).flatten(0, 1)


def compare(network: DigitNet, deployed: Deployed, data: DigitSplit) -> dict[str, float]:
    """What the quantised network does on the test images, against the float32 network."""
    with torch.no_grad():
        truth, found = network(data.test_images), deployed.network(data.test_images)
    right, still = ((logits.argmax(1) == data.test_labels).double().mean() for logits in (truth, found))
    weights = sum(layer.weight.numel() for layer in deployed.network.matrices().values())
    return {
        "accuracy_drop": float(right - still),
        "accuracy": float(still),
        "agreement": float((truth.argmax(1) == found.argmax(1)).double().mean()),
        "logit_sqnr": sqnr(truth, found),
        "bits_per_weight": deployed.weight_bits / weights,
        "size_bytes": (deployed.weight_bits + deployed.rest_bits) / 8,
    }


def sqnr(truth: Tensor, found: Tensor) -> float:
    """Energy of `truth` over that of the error of `found` in decibels; 200 at most."""
    noise = (found.double() - truth.double()).square().sum().clamp(min=1e-30)
    return min(200.0, float(10 * torch.log10(truth.double().square().sum() / noise)))
