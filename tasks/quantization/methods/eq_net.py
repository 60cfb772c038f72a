"""EQ-Net: one set of weights for every bit width, granularity and symmetry."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tasks.quantization.elastic import BITS, Mode, Per, Supernet
from tasks.quantization.lsq import optimise
from tasks.quantization.networks import TRAINING_IMAGES, NetworkProblem, NetworkTrainer, QuantisedNetwork, gains, trainable


class ElasticNetwork(NetworkTrainer, name="eq-net", label="EQ-Net", paper=116, knowledge=(TRAINING_IMAGES,)):
    """Paper 116, "EQ-Net: Elastic Quantization Neural Networks": per batch the largest sub-network (8 bits) learns from the labels, a
    random one and the smallest (2 bits) learn half from the labels and half from the sub-network before them; a penalty keeps weights
    close to uniform in kurtosis and skewness. Batch norms are re-estimated for the sub-network that is deployed.

    Training does not depend on what is deployed: trials that differ in `bits`, `per` and `symmetric` deploy the same weights. The paper
    searches for sub-networks with a genetic algorithm; here all layers but the ends share one configuration.
    """

    bits: int = Field(4, ge=2, le=8, description="of weights and activations of the deployed sub-network; the ends have 8")
    per: Per = Field("channel", description="what shares a step in the deployed sub-network")
    symmetric: bool = Field(True, description="grid of the deployed sub-network's weights")
    regularise: bool = Field(True, description="the penalty on kurtosis and skewness")
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate of the weights, falling along a cosine")

    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        supernet = Supernet(trainable(problem.network), problem.calibration)
        optimise(
            supernet.network, problem.batches(), problem.steps, self.rate, lambda x, y: self._backward(supernet, x, y, problem.generator)
        )
        supernet.switch(Mode(self.bits, self.bits, self.per, self.symmetric))
        supernet.recalibrate(problem.images)
        factors = gains(supernet.network)
        weights = {name: supernet.packed(name, factors[name]) for name in factors}
        grids = supernet.grids()
        return QuantisedNetwork(weights, grids, supernet.plain().folded().rest())

    def _backward(self, supernet: Supernet, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
        """Gradients of the three sub-networks and of the penalty."""
        teacher: Tensor | None = None
        for modes in (Mode(8, 8, *_style(generator)), random_modes(supernet, generator), Mode(2, 2, *_style(generator))):
            supernet.switch(modes)
            logits = supernet.network(x)
            loss = F.cross_entropy(logits, y)
            if teacher is not None:
                divergence = F.kl_div(F.log_softmax(logits, 1), F.log_softmax(teacher, 1), log_target=True, reduction="batchmean")
                loss = 0.5 * loss + 0.5 * divergence
            loss.backward()
            teacher = logits.detach()
        if self.regularise:
            supernet.shape_penalty().backward()


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
