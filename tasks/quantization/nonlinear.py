"""Non-linear operations of a vision transformer in few bits: GELU, softmax and layer norm."""

from __future__ import annotations

import copy
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from tasks.api import Context, Fixture, Measured, Method, Metric, Task
from tasks.datasets import digits_fingerprint
from tasks.errors import InvalidResult
from tasks.quantization import affine
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.digit_base import DigitsNetwork, split
from tasks.quantization.digit_nets import DigitNet, Site
from tasks.quantization.networks import ActivationGrid, activation_grid
from tasks.quantization.w_and_a import PRESETS, sqnr

Kind = Literal["gelu", "softmax", "layernorm"]
Operation = Callable[[Tensor], Tensor]

#: Sites whose values a non-linear operation has rounded already.
AFTER_AN_OPERATION = ("site_qkv", "site_attention", "site_up", "site_down")


@dataclass(frozen=True)
class OperationSite:
    """One non-linear operation and what it sees.

    `x` is its input on the calibration images, made by the network as quantised so far: for GELU and softmax on `grid` already, for layer
    norms (over the last axis) unrounded, because schemes differ in how they round it. `gain` and `bias` are empty but for layer norms.
    """

    name: str
    kind: Kind
    x: Tensor
    bits: int
    grid: ActivationGrid | None
    gain: Tensor
    bias: Tensor

    def exact(self, x: Tensor) -> Tensor:
        """The operation in float32."""
        if self.kind == "gelu":
            return F.gelu(x)
        return x.softmax(-1) if self.kind == "softmax" else F.layer_norm(x, x.shape[-1:], self.gain, self.bias)

    def integers(self, x: Tensor) -> tuple[Tensor, float]:
        """`x` as whole numbers in float64 and their unit; a layer norm's input is rounded to `bits` bits over the calibration's range."""
        grid = self.grid or activation_grid(self.x, self.bits)
        return torch.round(grid.quantise(x).double() / grid.scale), grid.scale


class NonlinearScheme(Method, family="quantization"):
    """How GELU, softmax and layer norm are computed and rounded."""

    @abstractmethod
    def fit(self, site: OperationSite) -> Operation:
        """A function that replaces the operation: float32 to float32, of the same shape, at most 2^bits different values per call."""


def rounded_output(site: OperationSite, operation: Operation) -> Operation:
    """`operation` with its output on a uniform grid of the site's bits: [0, 1] for softmax, the range on the calibration images else."""
    grid = ActivationGrid(1 / ((1 << site.bits) - 1), 0, site.bits)
    if site.kind != "softmax":
        grid = activation_grid(operation(site.x).float(), site.bits)
    return lambda x: grid.quantise(operation(x).float())


class Approximate(nn.Module):
    """Stands in for an operation: fits itself to the first input that it sees, then applies, checks and measures."""

    def __init__(self, scheme: NonlinearScheme, name: str, original: nn.Module, bits: int) -> None:
        super().__init__()
        self.scheme, self.name, self.bits = scheme, name, bits
        self.kind: Kind = "gelu" if isinstance(original, nn.GELU) else "softmax" if isinstance(original, nn.Softmax) else "layernorm"
        empty = torch.empty(0)
        self.parameters_of = (original.weight.detach(), original.bias.detach()) if isinstance(original, nn.LayerNorm) else (empty, empty)
        self.site: OperationSite | None = None
        self.operation: Operation | None = None
        self.seconds, self.signal_to_noise = 0.0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        first = self.site is None
        if self.site is None:
            grid = None if self.kind == "layernorm" else activation_grid(x, self.bits)
            seen = x if grid is None else grid.quantise(x)
            self.site = OperationSite(self.name, self.kind, seen, self.bits, grid, *self.parameters_of)
            started = time.thread_time()
            self.operation = self.scheme.fit(self.site)
            self.seconds = time.thread_time() - started
        assert self.operation is not None
        x = x if self.site.grid is None else self.site.grid.quantise(x)
        y = self.operation(x)
        where = f"{self.scheme.name} on {self.name}"
        if not isinstance(y, Tensor) or y.shape != x.shape or y.dtype != torch.float32 or not bool(torch.isfinite(y).all()):
            raise InvalidResult(f"{where}: the operation must return finite float32 values of its input's shape.")
        if not first:
            if (levels := len(y.unique())) > 1 << self.bits:
                raise InvalidResult(f"{where}: {levels} different values do not fit {self.bits} bits.")
            self.signal_to_noise = sqnr(self.site.exact(x), y)
        return y


class RangeSite(nn.Module):
    """A site whose grid is fitted to the first values that it sees."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.grid: ActivationGrid | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.grid = self.grid or activation_grid(x, self.bits)
        return self.grid.quantise(x)


def quantised_vit(network: DigitNet, scheme: NonlinearScheme, bits: int, linear: bool) -> tuple[DigitNet, list[Approximate]]:
    """A copy whose non-linear operations follow `scheme`, and its operations in order of execution; run it on calibration images first.

    `linear`: weights go to nearest per output and the other activations to ranges per tensor, with the same bits.
    """
    made, operations = copy.deepcopy(network), []
    for name, module in list(made.named_modules()):
        owner = made.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        if isinstance(module, nn.GELU | nn.Softmax | nn.LayerNorm):
            operations.append(Approximate(scheme, name, module, bits))
            setattr(owner, leaf, operations[-1])
        elif linear and isinstance(module, nn.Linear):
            rows = module.weight.detach()
            module.weight.data = affine.fit(rows, bits, False).nearest(rows)
        elif linear and isinstance(module, Site) and leaf not in AFTER_AN_OPERATION:
            setattr(owner, leaf, RangeSite(bits))
    return made.eval(), operations


class Nonlinear(
    Task, family="quantization", name="nonlinear", label="Non-linear operations", accepts=(NonlinearScheme,), timeout=300.0, seconds=1.5
):
    """Run a vision transformer on digits with GELU, softmax and layer norm in few bits; test on untouched digits.

    The inputs of GELU and softmax reach the method on a grid of `bits` bits over their calibration range; a layer norm's input is the
    method's to round. The task checks that no output has more than 2^bits different values. A seed draws split, network and calibration
    images.
    """

    preset: Literal["quick", "standard"] = Field("quick", description="sets width and base_epochs unless they are given")
    width: int = Field(16, ge=4, le=64, description="the transformer's model dimension")
    base_epochs: int = Field(6, ge=0, description="of the float32 network")
    bits: int = Field(8, ge=4, le=8, description="of the operations' outputs, of weights and of activations")
    linear: bool = Field(True, description="quantise weights and the inputs of matrix products, too")
    calibration: int = Field(256, ge=8, le=1257, description="calibration images, from the training split")

    check_params: ClassVar = {"width": 8, "base_epochs": 1, "calibration": 16}
    metrics: ClassVar = (
        Metric(
            "accuracy_drop", "1", "lower", "test accuracy of the float32 network minus that of the quantised", primary=True, low=-1, high=1
        ),
        Metric("accuracy", "1", "higher", "test accuracy of the quantised network", low=0, high=1),
        Metric("logit_sqnr", "dB", "higher", "10 log10 of the test logits' energy over that of their error"),
        Metric("gelu_sqnr", "dB", "higher", "energy over error energy of GELU's outputs for the same inputs, mean over operations"),
        Metric("softmax_sqnr", "dB", "higher", "the same of softmax"),
        Metric("layernorm_sqnr", "dB", "higher", "the same of layer norms, the rounding of their inputs included"),
        Metric("fit_seconds", "s", "lower", "CPU seconds of fitting all operations", low=0),
    )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        return PRESETS.get(str(given.get("preset", "quick")), {}).get("vit", {}) | given if isinstance(given, dict) else given

    def base(self, seed: int) -> DigitsNetwork:
        """The recipe of the seed's network."""
        return DigitsNetwork(architecture="vit", width=self.width, epochs=self.base_epochs, seed=seed)

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (self.base(seed),)

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, NonlinearScheme)
        data = split(seed)
        with one_thread(), torch.no_grad():
            network = context.fixture(self.base(seed))
            rows = self.streams(seed).numpy("data").permutation(len(data.labels))[: self.calibration]
            made, operations = quantised_vit(network, method, self.bits, self.linear)
            made(data.images[torch.from_numpy(np.sort(rows))])
            truth, found = network(data.test_images), made(data.test_images)
        right, still = (float((logits.argmax(1) == data.test_labels).double().mean()) for logits in (truth, found))
        kinds = {kind: [one.signal_to_noise for one in operations if one.kind == kind] for kind in ("gelu", "softmax", "layernorm")}
        return Measured(
            {
                "accuracy_drop": right - still,
                "accuracy": still,
                "logit_sqnr": sqnr(truth, found),
                **{f"{kind}_sqnr": float(np.mean(values)) for kind, values in kinds.items()},
                "fit_seconds": sum(one.seconds for one in operations),
            },
            info={"float32_accuracy": right, "sqnr": {one.name: round(one.signal_to_noise, 2) for one in operations}},
        )
