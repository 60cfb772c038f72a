"""EQ-Net: one set of weights for every bit width, granularity and symmetry."""

from __future__ import annotations

from pydantic import Field

from tasks.quantization.elastic import Mode, Per, trained_supernet
from tasks.quantization.networks import TRAINING_IMAGES, NetworkProblem, NetworkTrainer, QuantisedNetwork


class ElasticNetwork(NetworkTrainer, name="eq-net", label="EQ-Net", paper=116, knowledge=(TRAINING_IMAGES,)):
    """Paper 116, "EQ-Net: Elastic Quantization Neural Networks": per batch the largest sub-network (8 bits) learns from the labels, a
    random one and the smallest (2 bits) learn half from the labels and half from the sub-network before them; a penalty keeps weights
    close to uniform in kurtosis and skewness. Batch norms are re-estimated for the sub-network that is deployed.

    Training does not depend on what is deployed: trials that differ in `bits`, `per` and `symmetric` deploy the same weights. All layers
    but the ends share one configuration; `eq-net-search` looks for one per layer.
    """

    bits: int = Field(4, ge=2, le=8, description="of weights and activations of the deployed sub-network; the ends have 8")
    per: Per = Field("channel", description="what shares a step in the deployed sub-network")
    symmetric: bool = Field(True, description="grid of the deployed sub-network's weights")
    regularise: bool = Field(True, description="the penalty on kurtosis and skewness")
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate of the weights, falling along a cosine")

    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        supernet = trained_supernet(problem, self.rate, self.regularise)
        return supernet.deployed(Mode(self.bits, self.bits, self.per, self.symmetric), problem.images)
