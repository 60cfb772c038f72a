"""Learned step sizes for weights and activations of the networks on digits: quantizers as modules, and training through them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tasks.quantization import affine
from tasks.quantization.digit_nets import DigitNet
from tasks.quantization.networks import ActivationGrid, NetworkProblem, QuantisedNetwork, gains, observe
from tasks.quantization.protocol import Packed, Part
from tasks.quantization.qat import round_through

STEP_RATE = 0.01  #: Adam's rate of a step size, as a share of its initial value (a power of two): all magnitudes move alike
SMALLEST = 1e-8


class LearnedStep(nn.Module):
    """x to s round(clamp(x / s, low, high)) with s a parameter (LSQ, Esser et al. 2020).

    The gradient of s is that of the formula through a straight-through rounding, times 1 / sqrt(values per step x high).
    """

    def __init__(self, initial: Tensor, low: int, high: int, values: int) -> None:
        super().__init__()
        self.step = nn.Parameter(initial.clamp(min=SMALLEST))
        self.low, self.high = low, high
        self.factor = 1 / math.sqrt(values * high)

    def forward(self, x: Tensor) -> Tensor:
        step = self.step.clamp(min=SMALLEST)
        step = step.detach() + self.factor * (step - step.detach())  # the same value with `factor` times the gradient
        return round_through((x / step).clamp(self.low, self.high)) * step


def weight_quantizer(weight: Tensor, bits: int) -> LearnedStep:
    """For a weight [out, ...], symmetric with a step per output; starts at 2 mean|w| / sqrt(largest code)."""
    high = (1 << (bits - 1)) - 1
    flat = weight.detach().flatten(1)
    initial = 2 * flat.abs().mean(1) / math.sqrt(high)
    return LearnedStep(initial.view(-1, *[1] * (weight.ndim - 1)), -high - 1, high, flat.shape[1])


def activation_quantizer(x: Tensor, bits: int) -> LearnedStep:
    """For activations like `x`: unsigned where none is negative, else symmetric; one step."""
    signed = bool((x < 0).any())
    high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
    return LearnedStep(2 * x.abs().mean() / math.sqrt(high), -high - 1 if signed else 0, high, x[0].numel())


def bits_of(network: DigitNet, bits: int, ends: int) -> tuple[dict[str, int], dict[str, int]]:
    """Bits by matrix and by site: `ends` for the first and the last of each, `bits` for the others."""

    def spread(names: list[str]) -> dict[str, int]:
        return {name: ends if name in (names[0], names[-1]) else bits for name in names}

    return spread(list(network.matrices())), spread(list(network.sites()))


def attach(network: DigitNet, images: Tensor, weight_bits: Mapping[str, int], site_bits: Mapping[str, int]) -> dict[str, LearnedStep]:
    """Put quantizers on every matrix and site, in place; those of the activations by site. `images` set the initial steps."""
    seen = observe(network, images)
    for name, layer in network.matrices().items():
        parametrize.register_parametrization(layer, "weight", weight_quantizer(layer.weight, weight_bits[name]))
    activations = {name: activation_quantizer(seen[name], site_bits[name]) for name in network.sites()}
    for name, site in network.sites().items():
        site.register_module("quantizer", activations[name])
        site.register_forward_hook(lambda module, _, output: module.quantizer(output))
    return activations


def parameter_groups(network: nn.Module, rate: float) -> list[dict[str, object]]:
    """Adam's groups: step sizes and offsets at a share of their mean magnitude, everything else at `rate`.

    "share" is the group's rate at the start. Steps of similar size, within a power of two, are one group.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if name.endswith((".step", ".offset")):
            share = STEP_RATE * 2.0 ** round(math.log2(max(SMALLEST, float(parameter.detach().abs().mean()))))
        else:
            share = rate
        groups.setdefault(share, []).append(parameter)
    return [{"params": parameters, "share": share} for share, parameters in groups.items()]


def train_steps(
    network: DigitNet, problem: NetworkProblem, rate: float, loss_of: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
) -> None:
    """Train weights and steps over the problem's batches by Adam, rates falling along a cosine to zero."""
    optimise(network, problem.batches(), problem.steps, rate, lambda x, y: loss_of(network(x), y).backward())


def optimise(
    network: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], steps: int, rate: float, backward: Callable[[Tensor, Tensor], object]
) -> None:
    """Adam over the batches with rates falling along a cosine to zero; `backward` leaves gradients. Ends in evaluation mode."""
    adam = torch.optim.Adam(parameter_groups(network, rate), lr=rate)
    network.train()
    with torch.enable_grad():
        for step, (x, y) in enumerate(batches):
            for group in adam.param_groups:
                group["lr"] = group["share"] * 0.5 * (1 + math.cos(math.pi * step / steps))
            adam.zero_grad()
            backward(x, y)
            adam.step()
    network.eval()


def detach(network: DigitNet, activations: Mapping[str, LearnedStep]) -> QuantisedNetwork:
    """What the trained quantizers make of weights and activations, batch norms folded into the scales; the network loses its quantizers."""
    codes: dict[str, tuple[Tensor, Tensor, int]] = {}
    for name, layer in network.matrices().items():
        quantizer = layer.get_submodule("parametrizations.weight.0")
        assert isinstance(quantizer, LearnedStep)
        original, step = layer.get_parameter("parametrizations.weight.original").detach(), quantizer.step.detach().clamp(min=SMALLEST)
        whole = (original / step).clamp(quantizer.low, quantizer.high).round()
        codes[name] = (whole.flatten(1), step.flatten(), quantizer.high)
        parametrize.remove_parametrizations(layer, "weight")
    factors = gains(network)
    weights = {name: integer_weights(whole, step * factors[name], high) for name, (whole, step, high) in codes.items()}
    for site in network.sites().values():
        del site.quantizer
        site._forward_hooks.clear()
    return QuantisedNetwork(weights, {name: grid_of(quantizer) for name, quantizer in activations.items()}, network.folded().rest())


def integer_weights(codes: Tensor, scale: Tensor, high: int) -> Packed:
    """Signed codes [out, in] in -high-1..high with a scale per output as parts; a scale may be negative."""
    bits = (high + 1).bit_length()
    scales = scale.expand(len(codes)).clamp(-affine.FLOAT16_MAX, affine.FLOAT16_MAX).half()
    return Packed({"codes": Part((codes + high + 1).to(torch.int32), bits), "scales": Part(scales[:, None], 16)})


def grid_of(quantizer: LearnedStep) -> ActivationGrid:
    """The grid that an activation quantizer has learned."""
    bits = (quantizer.high - quantizer.low).bit_length()
    return ActivationGrid(float(quantizer.step.detach().clamp(min=SMALLEST)), -quantizer.low, bits)
