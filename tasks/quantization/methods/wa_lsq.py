"""Quantization-aware training of weights and activations with learned step sizes."""

from __future__ import annotations

from pydantic import Field

from tasks.quantization.lsq import attach, detach, train_steps
from tasks.quantization.networks import TRAINING_IMAGES, NetworkProblem, NetworkQuantizer, QuantisedNetwork, trainable


class NetworkLsq(NetworkQuantizer, name="wa-lsq", label="QAT (LSQ), W and A", knowledge=(TRAINING_IMAGES,)):
    """LSQ (Esser et al. 2020): the network goes on training through the rounding, and every step size is a parameter."""

    bits: int = Field(8, ge=2, le=8, description="of a weight")
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate of the weights, falling along a cosine")

    def quantize_network(self, problem: NetworkProblem) -> QuantisedNetwork:
        network = trainable(problem.network)
        weight_bits = dict.fromkeys(network.matrices(), self.bits)
        activations = attach(network, problem.calibration, weight_bits, dict.fromkeys(network.sites(), problem.activation_bits))
        train_steps(network, problem, self.rate)
        return detach(network, activations)
