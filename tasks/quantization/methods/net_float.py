"""The float baseline of quantised training: the same epochs without rounding."""

from __future__ import annotations

from pydantic import Field

from tasks.quantization.digit_base import train_network
from tasks.quantization.networks import TRAINING_IMAGES, NetworkProblem, NetworkTrainer, QuantisedNetwork, in_float16, trainable


class FloatNetwork(NetworkTrainer, name="net-float", label="Float16 network", knowledge=(TRAINING_IMAGES,)):
    """Goes on training in float32 for as many epochs as the quantised networks get; stored and run in float16."""

    continued: bool = Field(
        True, description="train for the further epochs; without them, a quantised network also wins by training longer"
    )
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate, falling along a cosine")

    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        network = trainable(problem.network)
        if self.continued:
            train_network(network, problem.batches(), problem.steps, self.rate)
        network = network.folded()
        return QuantisedNetwork({name: in_float16(layer.weight) for name, layer in network.matrices().items()}, {}, network.rest())
