"""Accuracy against bit operations: which width and which number of bits to spend a budget on."""

from __future__ import annotations

import copy
import time
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from tasks.api import Context, Fixture, Measured, Method, Metric, Task
from tasks.datasets import digits_fingerprint
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.digit_base import DigitsNetwork, accuracy, split, wake_optimizers
from tasks.quantization.digit_nets import multiplications
from tasks.quantization.networks import TRAINING_IMAGES, Deployed, NetworkProblem, NetworkTrainer, deploy

FULL = 16  #: bits of a factor that counts as one: bfloat16 or float16

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"widths": (8,), "base_epochs": 5, "epochs": 3},
    "standard": {"widths": (4, 6, 8, 12, 16), "base_epochs": 15, "epochs": 8},
}


class QuantisedTraining(
    Task, family="quantization", name="qat", label="Quantized training", accepts=(NetworkTrainer,), timeout=600.0, seconds=2.0
):
    """Make a quantised CNN for digits of any width; the task counts what its multiplications cost and how often it is right.

    Every method starts from the seed's float32 network of its width and trains for the same number of further epochs, float baselines
    included; a method that trains from scratch gets the base's epochs on top. Paper 131 ("Pareto-Optimal Quantized ResNet Is Mostly 4-bit")
    gives the two cost models: a multiplication costs in proportion to the wider factor's bits, or to the product of both.
    """

    preset: Literal["quick", "standard"] = Field("quick", description="sets widths, base_epochs and epochs unless they are given")
    widths: tuple[int, ...] = Field((8,), min_length=1, description="widths for which there is a float32 base")
    base_epochs: int = Field(5, ge=0, description="of the float32 base")
    epochs: int = Field(3, ge=0, description="further epochs of every method")
    calibration: int = Field(256, ge=8, le=1257, description="calibration images, from the training split")

    check_params: ClassVar = {"widths": (8,), "base_epochs": 1, "epochs": 1, "calibration": 16}
    metrics: ClassVar = (
        Metric("accuracy", "1", "higher", "test accuracy of the quantised network", primary=True, low=0, high=1),
        Metric("linear_cost", "MAC", "lower", "multiplications per image, each times the wider factor's bits / 16", low=0),
        Metric("quadratic_cost", "MAC", "lower", "multiplications per image, each times both factors' bits / 256", low=0),
        Metric("bits_per_weight", "bit/weight", "lower", "bits of everything stored for the matrices per weight", low=0),
        Metric("size_bytes", "byte", "lower", "stored matrices, float16 biases and gains, and activation grids", low=0),
        Metric("generalisation_gap", "1", "lower", "accuracy on the training images minus on the test images", low=-1, high=1),
        Metric("zero_share", "1", "higher", "share of weights that are exactly zero", low=0, high=1),
        Metric("train_seconds", "s", "lower", "CPU seconds of the method", low=0),
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        return PRESETS.get(str(given.get("preset", "quick")), {}) | given if isinstance(given, dict) else given

    def base(self, seed: int, width: int) -> DigitsNetwork:
        """The recipe of the seed's network of a width."""
        return DigitsNetwork(width=width, epochs=self.base_epochs, seed=seed)

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return tuple(self.base(seed, width) for width in self.widths)

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def infeasible(self, method: Method) -> str | None:
        if isinstance(method, NetworkTrainer) and method.width not in self.widths:
            return f"there is no base of width {method.width}; the task's widths are {', '.join(map(str, self.widths))}."
        return super().infeasible(method)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, NetworkTrainer)
        data, streams = split(seed), self.streams(seed)
        recipe = self.base(seed, method.width)
        with one_thread():
            start = recipe.fresh() if method.from_scratch else copy.deepcopy(context.fixture(recipe))
            rows = streams.numpy("data").permutation(len(data.labels))[: self.calibration]
            problem = NetworkProblem(start, data.images[torch.from_numpy(np.sort(rows))], 0, streams.torch("method"))
            if TRAINING_IMAGES in method.knowledge:
                epochs = self.epochs + (self.base_epochs if method.from_scratch else 0)
                problem = problem.with_training(data.images, data.labels, epochs, streams.numpy("order"))
            wake_optimizers()
            started = time.thread_time()
            quantised = method.train(problem)
            seconds = time.thread_time() - started
            deployed = deploy(context.fixture(recipe), quantised, method.name)
            tested = accuracy(deployed.network, data.test_images, data.test_labels)
            trained = accuracy(deployed.network, data.images, data.labels)
        layers = deployed.network.matrices().values()
        weights = sum(layer.weight.numel() for layer in layers)
        linear, quadratic = costs(deployed)
        return Measured(
            {
                "accuracy": tested,
                "linear_cost": linear,
                "quadratic_cost": quadratic,
                "bits_per_weight": deployed.weight_bits / weights,
                "size_bytes": (deployed.weight_bits + deployed.rest_bits) / 8,
                "generalisation_gap": trained - tested,
                "zero_share": sum(int((layer.weight == 0).sum()) for layer in layers) / weights,
                "train_seconds": seconds,
            },
            info={"weight_bits": dict(deployed.widths), "activation_bits": dict(deployed.activation_widths)},
        )


def costs(deployed: Deployed) -> tuple[float, float]:
    """Linear and quadratic cost of one image, in multiplications of two 16-bit factors; additions are free, as in paper 131."""
    linear = quadratic = 0.0
    counts = multiplications(deployed.network)
    for (name, count), activation in zip(counts.items(), deployed.activation_widths.values(), strict=True):
        weight = deployed.widths[name]
        linear += count * max(weight, activation) / FULL
        quadratic += count * weight * activation / FULL**2
    return linear, quadratic
