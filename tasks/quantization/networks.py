"""Networks with quantised weights and activations: what a method hands back, and how the evaluator stores, counts and runs it.

Weights come as integer codes on a uniform grid (or as float16), activations as grids per tensor; the evaluator does the arithmetic itself.
What it runs is made from the stored bytes alone.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tasks.api import Method
from tasks.errors import InvalidResult
from tasks.quantization.affine import AffineQuantizer
from tasks.quantization.digit_base import shuffled, steps_of
from tasks.quantization.digit_nets import Cnn, DigitNet, norm_of
from tasks.quantization.protocol import Packed, Part
from tasks.quantization.storage import store

#: A method with this word in its `knowledge` is handed the training images and labels; others get unlabelled calibration images only.
TRAINING_IMAGES = "training images"

Ranges = Literal["minmax", "percentile", "mse"]
PERCENTILE = 0.999  #: what `percentile` keeps inside on each side
SHRINKS = 80  #: ranges that `mse` tries: 1, .99, ... of the full one
SAMPLE = 20_000  #: values that `mse` looks at

REST_BITS = 16  #: biases, gains and positions are stored in float16


@dataclass(frozen=True, slots=True)
class ActivationGrid:
    """x ~ scale (q - zero) with integer q in 0..2^bits - 1; one grid per tensor. Stored as a float32 and a zero of `bits` bits."""

    scale: float
    zero: int
    bits: int

    def quantise(self, x: Tensor) -> Tensor:
        """The nearest points of the grid, as `torch.fake_quantize_per_tensor_affine` finds them (ties to even, times 1/scale)."""
        scale = torch.tensor(self.scale, dtype=torch.float32)
        codes = (torch.round(x * (1 / scale)) + self.zero).clamp(0, (1 << self.bits) - 1)
        return (codes - self.zero) * scale


def activation_grid(x: Tensor, bits: int, ranges: Ranges = "minmax") -> ActivationGrid:
    """A grid for values like `x` that contains 0: over the whole range, over 99.9 % on each side, or over the share of the range with the
    least squared error."""
    values = x.detach().flatten()
    low, high = float(values.min().clamp(max=0)), float(values.max().clamp(min=0))
    if ranges == "percentile":
        values = values.sort().values
        place = int(PERCENTILE * (len(values) - 1))
        low, high = min(0.0, float(values[len(values) - 1 - place])), max(0.0, float(values[place]))
    if ranges == "mse":
        sample = values[:: max(1, len(values) // SAMPLE)]
        trials = [_between(low * (1 - step / 100), high * (1 - step / 100), bits) for step in range(SHRINKS)]
        return min(trials, key=lambda grid: float((grid.quantise(sample) - sample).double().square().sum()))
    return _between(low, high, bits)


def _between(low: float, high: float, bits: int) -> ActivationGrid:
    levels = (1 << bits) - 1
    scale = max(float(np.float32((high - low) / levels)), 2.0**-24)
    return ActivationGrid(scale, min(levels, max(0, round(-low / scale))), bits)


@dataclass(frozen=True, slots=True)
class QuantisedNetwork:
    """What a method hands back, for the architecture without batch norms (`DigitNet.folded`).

    `weights`: for each matrix the parts `codes`, `scales` and, unless the middle code stands for 0, `zeros` of `affine.Grid.packed`, with
    one scale per output or one for all; or the part `values` in float16. `activations`: a grid per site; sites without one keep float16.
    `rest`: the other parameters.
    """

    weights: Mapping[str, Packed]
    activations: Mapping[str, ActivationGrid]
    rest: Mapping[str, Tensor]


@dataclass(frozen=True)
class NetworkProblem:
    """What a method is given. `network` is its own copy of the float32 network, batch norms included, in evaluation mode."""

    network: DigitNet
    calibration: Tensor  #: unlabelled training images [n, 1, 8, 8]
    activation_bits: int
    generator: torch.Generator  #: the method's random stream
    epochs: int = 0  #: passes over the training images that the method may make
    images: Tensor = field(default_factory=lambda: torch.empty(0))  #: empty without TRAINING_IMAGES
    labels: Tensor = field(default_factory=lambda: torch.empty(0))
    order: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def with_training(self, images: Tensor, labels: Tensor, epochs: int, order: np.random.Generator) -> NetworkProblem:
        """The same problem with training images and labels."""
        return replace(self, images=images, labels=labels, epochs=epochs, order=order)

    @property
    def steps(self) -> int:
        """Number of batches."""
        return steps_of(len(self.labels), self.epochs)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The seed's batches of training images and labels, all epochs of them."""
        return shuffled(self.images, self.labels, self.epochs, self.order)


class NetworkQuantizer(Method, family="quantization"):
    """Quantises weights and activations of a trained network together; knowledge=(TRAINING_IMAGES,) lets it train."""

    @abstractmethod
    def quantize_network(self, problem: NetworkProblem) -> QuantisedNetwork:
        """Quantise `problem.network` with activations of `problem.activation_bits` bits."""


class NetworkTrainer(Method, family="quantization"):
    """Makes a quantised CNN of a width of its own choice; knowledge=(TRAINING_IMAGES,) lets it train."""

    from_scratch: ClassVar[bool] = False  #: start from initial weights, with the epochs that the others' float32 base took on top

    width: int = Field(8, ge=4, le=64, description="channels of the CNN's first half")

    @abstractmethod
    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        """Train `problem.network` for at most `problem.epochs` epochs and quantise it."""


def gains(network: DigitNet) -> dict[str, Tensor]:
    """Factor [out] by which folding the batch norms multiplies the rows of each matrix."""
    found = {name: torch.ones(layer.weight.shape[0]) for name, layer in network.matrices().items()}
    if isinstance(network, Cnn):
        found |= {f"{name}.conv": norm_of(unit)[0] for name, unit in network.units().items()}
    return found


def in_float16(weight: Tensor) -> Packed:
    """A matrix left in float16."""
    return Packed({"values": Part(weight.detach().flatten(1).half(), 16)})


def decoded(packed: Packed, shape: tuple[int, int]) -> Tensor:
    """The matrix [out, in] float32 of what `QuantisedNetwork.weights` holds."""
    return packed["values"].float() if "values" in packed else AffineQuantizer.dequantize(packed, shape)


def width_of(packed: Packed) -> int:
    """Bits of one factor of a multiplication with this matrix."""
    return packed.parts["values" if "values" in packed else "codes"].bits


@dataclass(frozen=True)
class Deployed:
    """A network rebuilt from what was stored, with what the evaluator counted."""

    network: DigitNet
    weight_bits: int  #: stored for all matrices
    rest_bits: int  #: stored for the other parameters and the activations' grids
    widths: Mapping[str, int]  #: bits of a weight by matrix
    activation_widths: Mapping[str, int]  #: bits of an activation by site


def deploy(network: DigitNet, quantised: QuantisedNetwork, where: str) -> Deployed:
    """Store, count and rebuild. `network` is the float32 network; it is not changed."""
    if not isinstance(quantised, QuantisedNetwork):
        raise InvalidResult(f"{where} returned {type(quantised).__name__}; it must return a QuantisedNetwork.")
    rebuilt = network.folded().requires_grad_(False)
    matrices, rest = rebuilt.matrices(), rebuilt.rest()
    if set(quantised.weights) != set(matrices) or set(quantised.rest) != set(rest):
        raise InvalidResult(f"{where} must return all matrices ({', '.join(matrices)}) and all other parameters ({', '.join(rest)}).")
    bits, widths = 0, {}
    for name, packed in quantised.weights.items():
        place = f"{where} on {name}"
        stored = store(packed, place)
        weight = matrices[name].weight
        shape = (weight.shape[0], weight[0].numel())
        _check_parts(packed, shape, place)
        try:
            installed = decoded(stored.read(), shape).reshape(weight.shape)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidResult(f"{place}: the parts make no matrix of shape {shape}: {error}.") from error
        weight.data = installed
        bits += stored.bits
        widths[name] = width_of(packed)
    rest_bits = 0
    parameters = dict(rebuilt.named_parameters())
    for name, value in quantised.rest.items():
        if value.shape != rest[name].shape or not bool(torch.isfinite(value).all()):
            raise InvalidResult(f"{where}: {name} must be finite and of shape {tuple(rest[name].shape)}.")
        parameters[name].data = value.detach().half().float()
        rest_bits += REST_BITS * value.numel()
    rest_bits += install_activations(rebuilt, quantised.activations, where)
    return Deployed(
        rebuilt.eval(),
        bits,
        rest_bits,
        widths,
        {name: quantised.activations[name].bits if name in quantised.activations else 16 for name in rebuilt.sites()},
    )


def _check_parts(packed: Packed, shape: tuple[int, int], place: str) -> None:
    """One integer product per weight and one scale per output: else the widths say nothing about the cost of a multiplication."""
    parts = set(packed.parts)
    if not (parts == {"values"} or {"codes", "scales"} <= parts <= {"codes", "scales", "zeros"}) or packed.meta:
        raise InvalidResult(f"{place}: the parts must be codes and scales (and zeros), or values, without a note.")
    if "codes" in parts:
        if packed["codes"].is_floating_point():
            raise InvalidResult(f"{place}: the codes are integers, not {packed['codes'].dtype}.")
        if wrong := [name for name in parts - {"codes"} if packed[name].numel() not in (1, shape[0])]:
            raise InvalidResult(
                f"{place}: {packed[wrong[0]].numel()} {wrong[0]} for {shape[0]} outputs; one each, or one for all, is allowed."
            )


def install_activations(network: DigitNet, grids: Mapping[str, ActivationGrid], where: str) -> int:
    """Round the activations of `network` in place, those without a grid to float16; returns the bits of the grids."""
    sites = network.sites()
    if extra := set(grids) - set(sites):
        raise InvalidResult(f"{where}: the network has no site {sorted(extra)[0]!r}; its sites are {', '.join(sites)}.")
    for name, grid in grids.items():
        if not 1 <= grid.bits <= 16 or not 0 <= grid.zero < 1 << grid.bits or not np.isfinite(grid.scale) or grid.scale <= 0:
            raise InvalidResult(
                f"{where}: the grid of {name} needs a positive scale, 1 to 16 bits and a zero inside its codes, not {grid}."
            )
    for name, site in sites.items():
        site.register_forward_hook(_rounding(grids.get(name)))
    return sum(32 + grid.bits for grid in grids.values())


def _rounding(grid: ActivationGrid | None):
    def hook(module: nn.Module, args: object, output: Tensor) -> Tensor:
        return output.half().float() if grid is None else grid.quantise(output)

    return hook


def observe(network: DigitNet, images: Tensor) -> dict[str, Tensor]:
    """Values at each site while the network runs on `images`."""
    seen: dict[str, Tensor] = {}
    hooks = [
        site.register_forward_hook(lambda _, args, output, name=name: seen.update({name: output.detach()}))
        for name, site in network.sites().items()
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def calibrated(network: DigitNet, images: Tensor, bits: int | Mapping[str, int], ranges: Ranges) -> dict[str, ActivationGrid]:
    """A grid for every site from the network's own activations; `bits` for all of them or by site."""
    seen = observe(network, images)
    return {name: activation_grid(x, bits if isinstance(bits, int) else bits[name], ranges) for name, x in seen.items()}


def trainable(network: DigitNet) -> DigitNet:
    """A copy whose parameters can be trained."""
    return copy.deepcopy(network).requires_grad_(True)
