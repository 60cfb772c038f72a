"""Bit-wise training: the bits of the weights are what is trained."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tasks.quantization.lsq import integer_weights, optimise
from tasks.quantization.networks import (
    TRAINING_IMAGES,
    NetworkProblem,
    NetworkTrainer,
    QuantisedNetwork,
    calibrated,
    gains,
    trainable,
)

LATENT = 0.1  #: standard deviation of a bit's latent value at the start


class Bits(torch.autograd.Function):
    """[latent > 0] forward, the identity backward."""

    @staticmethod
    def forward(context: object, latents: Tensor) -> Tensor:
        return (latents > 0).to(latents.dtype)

    @staticmethod
    def backward(context: object, *gradients: Tensor) -> Tensor:
        return gradients[0]


class BitPlanes(nn.Module):
    """A weight tensor made of bits: scale (-1)^s sum_i b_i 2^i; the planes outside `trained` keep their random initial bits."""

    def __init__(self, shape: torch.Size, magnitude: int, trained: int, sign: bool, generator: torch.Generator) -> None:
        super().__init__()
        latents = LATENT * torch.randn(magnitude + 1, *shape, generator=generator)
        self.sign = nn.Parameter(latents[0], requires_grad=sign)
        self.low = nn.Parameter(latents[1 : 1 + magnitude - trained], requires_grad=False)
        self.high = nn.Parameter(latents[1 + magnitude - trained :], requires_grad=trained > 0)
        self.top = (1 << magnitude) - 1
        self.scale = 2 * math.sqrt(2 / math.prod(shape[1:])) / (1 << magnitude)
        self.register_buffer("places", (2.0 ** torch.arange(magnitude)).view(-1, *[1] * len(shape)))

    def codes(self) -> Tensor:
        """The weights in units of the scale: signed integers."""
        bits = Bits.apply(torch.cat([self.low, self.high]))
        return (1 - 2 * Bits.apply(self.sign)) * (bits * self.places).sum(0)

    def forward(self, _: Tensor) -> Tensor:
        return self.codes() * self.scale


class BitWise(NetworkTrainer, name="bit-wise", label="Bit-wise training", paper=160, knowledge=(TRAINING_IMAGES,)):
    """Paper 160, "Bit-wise Training of Neural Network Weights": each bit of a weight has a real latent value, is 1 where that is positive,
    and passes its gradient straight through. Bits that are not trained stay at their random initial values.

    Trained from scratch; the batch norms absorb the fixed scale. Activations are rounded to 8 bits afterwards.
    """

    from_scratch: ClassVar[bool] = True

    magnitude: int = Field(8, ge=1, le=12, description="bits of a weight's magnitude, beside its sign")
    trained: int = Field(8, ge=0, le=12, description="how many of them, from the most significant, are trained")
    sign: bool = Field(True, description="train the sign bit")
    rate: float = Field(0.01, gt=0, description="Adam's learning rate, falling along a cosine")

    def infeasible(self) -> str | None:
        if self.trained > self.magnitude:
            return f"{self.trained} of {self.magnitude} magnitude bits can't be trained."
        return "no bit is trained." if not self.trained and not self.sign else None

    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        network = trainable(problem.network)
        planes = {}
        for name, layer in network.matrices().items():
            planes[name] = BitPlanes(layer.weight.shape, self.magnitude, self.trained, self.sign, problem.generator)
            parametrize.register_parametrization(layer, "weight", planes[name])
            layer.parametrizations.weight.original.requires_grad_(False)  # type: ignore[union-attr]
        loss = nn.CrossEntropyLoss()
        optimise(network, problem.batches(), problem.steps, self.rate, lambda x, y: loss(network(x), y).backward())
        factors = gains(network)
        weights = {}
        for name, layer in network.matrices().items():
            codes = planes[name].codes().detach().flatten(1)
            weights[name] = integer_weights(codes, planes[name].scale * factors[name], planes[name].top)
            parametrize.remove_parametrizations(layer, "weight")
        network = network.folded()
        return QuantisedNetwork(weights, calibrated(network, problem.calibration, 8, "mse"), network.rest())
