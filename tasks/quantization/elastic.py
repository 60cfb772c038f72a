"""A network whose quantizers can be switched: weights shared by all bit widths, granularities and symmetries, step sizes of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tasks.quantization import affine
from tasks.quantization.digit_nets import DigitNet
from tasks.quantization.lsq import SMALLEST, LearnedStep, activation_quantizer, grid_of, optimise, weight_quantizer
from tasks.quantization.networks import ActivationGrid, NetworkProblem, QuantisedNetwork, gains, observe, trainable
from tasks.quantization.protocol import Packed, Part
from tasks.quantization.qat import round_through

BITS = (2, 3, 4, 5, 6, 7, 8)
ENDS = 8  #: bits of the first and the last layer, which are not elastic
UNIFORM_KURTOSIS = 1.8  #: fourth standardised moment of a uniform distribution, the easiest to quantise
KURTOSIS_WEIGHT, SKEWNESS_WEIGHT = 0.015, 1.0

Per = Literal["layer", "channel"]


@dataclass(frozen=True, slots=True)
class Mode:
    """How one layer is quantised: bits of its weights and of its input, granularity and symmetry of its weights."""

    weight_bits: int
    activation_bits: int
    per: Per
    symmetric: bool


class LearnedAffine(nn.Module):
    """x to s round(clamp((x - b) / s, low, high)) + b with step s and, unless symmetric, offset b as parameters (LSQ+)."""

    def __init__(self, rows: Tensor, bits: int, symmetric: bool, shape: tuple[int, ...]) -> None:
        super().__init__()
        grid = affine.fit(rows, bits, symmetric, search=True)  # least |error|^2.4 over 80 shrinks, as the paper's initial steps
        top = (1 << bits) - 1
        self.low, self.high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if symmetric else (0, top)
        self.step = nn.Parameter(grid.scale.clamp(min=SMALLEST).view(shape).clone())
        self.offset = None if symmetric else nn.Parameter((-grid.scale * grid.zero).view(shape).clone())
        self.factor = 1 / math.sqrt(rows.shape[1] * self.high)

    def codes(self, x: Tensor) -> Tensor:
        step = self._step()
        shifted = x if self.offset is None else x - self.offset
        return round_through((shifted / step).clamp(self.low, self.high))

    def forward(self, x: Tensor) -> Tensor:
        rounded = self.codes(x) * self._step()
        return rounded if self.offset is None else rounded + self.offset

    def _step(self) -> Tensor:
        step = self.step.clamp(min=SMALLEST)
        return step.detach() + self.factor * (step - step.detach())

    @torch.no_grad()
    def packed(self, weight: Tensor, gain: Tensor) -> Packed:
        """Codes and parameters of `weight`, whose outputs are multiplied by `gain` [out] when batch norms are folded."""
        codes, bits = self.codes(weight).flatten(1) - self.low, (self.high - self.low).bit_length()
        step = self.step.clamp(min=SMALLEST).flatten()
        parts = {"codes": Part(codes.to(torch.int32), bits), "scales": Part((step * gain).half()[:, None], 16)}
        if self.offset is not None:
            # A step learned down to nothing would put zero out of float16's reach.
            zero = (-self.offset.flatten() / step).clamp(-affine.FLOAT16_MAX, affine.FLOAT16_MAX)
            parts["zeros"] = Part(zero.expand(len(codes)).half()[:, None], 16)
        return Packed(parts)


class ElasticWeight(nn.Module):
    """All quantizers of one matrix; `mode` picks one."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.mode = Mode(8, 8, "channel", True)
        flat, ones = weight.detach().flatten(1), [1] * (weight.ndim - 1)
        self.choices = nn.ModuleDict()
        for bits in BITS:
            for symmetric in (True, False):
                self.choices[f"{bits}-channel-{symmetric}"] = LearnedAffine(flat, bits, symmetric, (-1, *ones))
                self.choices[f"{bits}-layer-{symmetric}"] = LearnedAffine(flat.reshape(1, -1), bits, symmetric, (1, *ones))

    def chosen(self) -> LearnedAffine:
        found = self.choices[f"{self.mode.weight_bits}-{self.mode.per}-{self.mode.symmetric}"]
        assert isinstance(found, LearnedAffine)
        return found

    def forward(self, weight: Tensor) -> Tensor:
        return self.chosen()(weight)


class Supernet:
    """A network with elastic quantizers on all layers but the first and the last, which have 8 bits."""

    def __init__(self, network: DigitNet, images: Tensor) -> None:
        self.network = network
        seen = observe(network, images)
        names, sites = list(network.matrices()), list(network.sites())
        self.inner = names[1:-1]
        self.fixed: dict[str, LearnedStep] = {}
        self.elastic: dict[str, ElasticWeight] = {}
        self.activations: dict[str, dict[int, LearnedStep]] = {}
        for (name, layer), (site_name, site) in zip(network.matrices().items(), network.sites().items(), strict=True):
            inner = name in self.inner
            bits = BITS if inner else (ENDS,)
            steps = nn.ModuleDict({str(count): activation_quantizer(seen[site_name], count) for count in bits})
            self.activations[site_name] = {count: steps[str(count)] for count in bits}  # type: ignore[misc]
            site.register_module("quantizer", steps)
            quantizer = ElasticWeight(layer.weight) if inner else weight_quantizer(layer.weight, ENDS)
            parametrize.register_parametrization(layer, "weight", quantizer)
            if isinstance(quantizer, ElasticWeight):
                self.elastic[name] = quantizer
                site.register_forward_hook(
                    lambda module, _, output, owner=quantizer: module.quantizer[str(owner.mode.activation_bits)](output)
                )
            else:
                self.fixed[name] = quantizer
                site.register_forward_hook(lambda module, _, output: module.quantizer[str(ENDS)](output))
        self.input_of = dict(zip(names, sites, strict=True))

    def switch(self, modes: Mapping[str, Mode] | Mode) -> None:
        """Set the mode of every elastic layer, or of all alike."""
        for name, weight in self.elastic.items():
            weight.mode = modes if isinstance(modes, Mode) else modes[name]

    def shape_penalty(self) -> Tensor:
        """The weight distribution regularisation over the elastic layers' float weights."""
        weights = [self.network.get_parameter(f"{name}.parametrizations.weight.original") for name in self.elastic]
        return shape_penalty(weights)

    @torch.no_grad()
    def recalibrate(self, images: Tensor, batch: int = 256) -> None:
        """Batch-norm statistics of the current mode, from the training images alone."""
        norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        self.network.train()
        for part in images.split(batch):
            if len(part) == batch:
                self.network(part)
        self.network.eval()

    def deployed(self, modes: Mapping[str, Mode] | Mode, images: Tensor) -> QuantisedNetwork:
        """The sub-network of these modes, batch norms re-estimated on the training images and folded. Ends the supernet's life."""
        self.switch(modes)
        self.recalibrate(images)
        factors = gains(self.network)
        weights = {name: self.packed(name, factors[name]) for name in factors}
        grids = self.grids()
        return QuantisedNetwork(weights, grids, self.plain().folded().rest())

    @torch.no_grad()
    def packed(self, name: str, gain: Tensor) -> Packed:
        """Stored form of a matrix in the current mode, batch norms folded."""
        original = self.network.get_parameter(f"{name}.parametrizations.weight.original")
        if name in self.elastic:
            return self.elastic[name].chosen().packed(original, gain)
        quantizer = self.fixed[name]
        step = quantizer.step.clamp(min=SMALLEST)
        codes = (original / step).clamp(quantizer.low, quantizer.high).round().flatten(1) - quantizer.low
        return Packed({"codes": Part(codes.to(torch.int32), ENDS), "scales": Part((step.flatten() * gain).half()[:, None], 16)})

    def grids(self) -> dict[str, ActivationGrid]:
        """The activation grids of the current mode, by site."""
        found = {}
        for name, site in self.input_of.items():
            bits = self.elastic[name].mode.activation_bits if name in self.elastic else ENDS
            found[site] = grid_of(self.activations[site][bits])
        return found

    def plain(self) -> DigitNet:
        """The network without its quantizers; from now on, only that is left."""
        for layer in self.network.matrices().values():
            parametrize.remove_parametrizations(layer, "weight")
        for site in self.network.sites().values():
            del site.quantizer
            site._forward_hooks.clear()
        return self.network


def shape_penalty(weights: Sequence[Tensor]) -> Tensor:
    """0.015 mean (kurtosis - 1.8)^2 + mean skewness^2 over weight tensors: 0 where each is spread like a symmetric uniform distribution."""
    kurtosis, skewness = [], []
    for weight in weights:
        standard = (weight - weight.mean()) / weight.std(unbiased=False)
        kurtosis.append((standard.pow(4).mean() - UNIFORM_KURTOSIS).square())
        skewness.append(standard.pow(3).mean().square())
    return KURTOSIS_WEIGHT * torch.stack(kurtosis).mean() + SKEWNESS_WEIGHT * torch.stack(skewness).mean()


def trained_supernet(problem: NetworkProblem, rate: float, regularise: bool) -> Supernet:
    """The supernet after the problem's batches: Adam with a learning rate that falls from `rate` along a cosine."""
    supernet = Supernet(trainable(problem.network), problem.calibration)

    def backward(x: Tensor, y: Tensor) -> None:
        """Gradients of the three sub-networks and of the penalty."""
        teacher: Tensor | None = None
        generator = problem.generator
        for modes in (Mode(8, 8, *_style(generator)), random_modes(supernet, generator), Mode(2, 2, *_style(generator))):
            supernet.switch(modes)
            logits = supernet.network(x)
            loss = F.cross_entropy(logits, y)
            if teacher is not None:
                divergence = F.kl_div(F.log_softmax(logits, 1), F.log_softmax(teacher, 1), log_target=True, reduction="batchmean")
                loss = 0.5 * loss + 0.5 * divergence
            loss.backward()
            teacher = logits.detach()
        if regularise:
            supernet.shape_penalty().backward()

    optimise(supernet.network, problem.batches(), problem.steps, rate, backward)
    return supernet


def _style(generator: torch.Generator) -> tuple[Per, bool]:
    """A random granularity and symmetry."""
    per, symmetric = torch.randint(2, (2,), generator=generator).tolist()
    return ("channel" if per else "layer"), bool(symmetric)


def random_modes(supernet: Supernet, generator: torch.Generator) -> dict[str, Mode]:
    """A random mode for each elastic layer."""
    modes = {}
    for name in supernet.elastic:
        weight, activation = (BITS[place] for place in torch.randint(len(BITS), (2,), generator=generator).tolist())
        modes[name] = Mode(weight, activation, *_style(generator))
    return modes
