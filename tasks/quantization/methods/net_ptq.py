"""Rounding after training, on the same budget as quantised training."""

from __future__ import annotations

from pydantic import Field

from tasks.quantization import affine
from tasks.quantization.digit_base import train_network
from tasks.quantization.lsq import bits_of
from tasks.quantization.networks import (
    TRAINING_IMAGES,
    NetworkProblem,
    NetworkTrainer,
    QuantisedNetwork,
    Ranges,
    calibrated,
    trainable,
)


class RoundedNetwork(NetworkTrainer, name="net-ptq", label="Trained in float, then rounded", paper=188, knowledge=(TRAINING_IMAGES,)):
    """The post-training side of paper 188, "Optimizing Large Language Models through Quantization: A Comparative Analysis of PTQ and QAT
    Techniques", on CNNs: float32 for the epochs that quantised networks get, then weights to nearest per output, activations per tensor."""

    bits: int = Field(4, ge=2, le=8, description="of weights and activations")
    ends: int = Field(8, ge=2, le=8, description="bits of the first and the last layer")
    ranges: Ranges = Field("mse", description="how the ranges are calibrated")
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate, falling along a cosine")

    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        network = trainable(problem.network)
        train_network(network, problem.batches(), problem.steps, self.rate)
        network = network.folded()
        weight_bits, site_bits = bits_of(network, self.bits, self.ends)
        weights = {}
        for name, layer in network.matrices().items():
            rows = layer.weight.detach().flatten(1)
            grid = affine.fit(rows, weight_bits[name], True, self.ranges == "mse")
            weights[name] = grid.packed(grid.encode(rows))
        return QuantisedNetwork(weights, calibrated(network, problem.calibration, site_bits, self.ranges), network.rest())
