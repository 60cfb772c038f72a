"""One network trained for one number of bits with learned step sizes."""

from __future__ import annotations

from pydantic import Field

from tasks.quantization.lsq import attach, bits_of, detach, train_steps
from tasks.quantization.networks import TRAINING_IMAGES, NetworkProblem, NetworkTrainer, QuantisedNetwork, trainable


class DedicatedNetwork(NetworkTrainer, name="net-lsq", label="QAT (LSQ) network", paper=131, knowledge=(TRAINING_IMAGES,)):
    """Paper 131, "Pareto-Optimal Quantized ResNet Is Mostly 4-bit": quantised training at several widths and bits, ends at 8 bits.

    The paper learns by straight-through estimation with activation bounds from running maxima; here the step sizes are learned (LSQ).
    """

    bits: int = Field(4, ge=2, le=8, description="of weights and activations")
    ends: int = Field(8, ge=2, le=8, description="bits of the first and the last layer")
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate of the weights, falling along a cosine")

    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        network = trainable(problem.network)
        activations = attach(network, problem.calibration, *bits_of(network, self.bits, self.ends))
        train_steps(network, problem, self.rate)
        return detach(network, activations)
