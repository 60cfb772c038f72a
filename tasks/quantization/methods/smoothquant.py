"""SmoothQuant: move the activations' outliers into the weights before rounding both."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import nn

from tasks.quantization import affine
from tasks.quantization.digit_nets import Architecture, DigitNet, Vit, VitBlock
from tasks.quantization.networks import NetworkProblem, NetworkQuantizer, QuantisedNetwork, Ranges, calibrated, observe


class SmoothQuant(NetworkQuantizer, name="smoothquant", label="SmoothQuant"):
    """SmoothQuant (Xiao et al. 2023): divide input channel j of a linear layer by s_j = max|x_j|^a / max|w_j|^(1-a), multiply the weights.

    1/s goes into the layer norm before the layer, so float32 results stay what they were. Then weights are rounded per output channel and
    activations per tensor. Layers without a norm before them are left unsmoothed.
    """

    architectures: ClassVar[tuple[Architecture, ...]] = ("vit",)

    bits: int = Field(8, ge=2, le=8, description="of a weight")
    migration: float = Field(0.5, ge=0, le=1, description="a: how much of the difficulty moves from activations to weights")
    ranges: Ranges = "minmax"

    def quantize_network(self, problem: NetworkProblem) -> QuantisedNetwork:
        network = problem.network.folded()
        self.smooth(network, problem)
        weights = {}
        for name, layer in network.matrices().items():
            grid = affine.fit(rows := layer.weight.detach().flatten(1), self.bits, False)
            weights[name] = grid.packed(grid.encode(rows))
        return QuantisedNetwork(weights, calibrated(network, problem.calibration, problem.activation_bits, self.ranges), network.rest())

    def smooth(self, network: DigitNet, problem: NetworkProblem) -> None:
        """Rescale in place the layers that follow a layer norm."""
        assert isinstance(network, Vit)
        seen = observe(network, problem.calibration)
        pairs: list[tuple[nn.LayerNorm, str, nn.Linear]] = [(network.norm, "site_head", network.head)]
        for number, block in enumerate(network.blocks):
            assert isinstance(block, VitBlock)
            pairs += [(block.norm1, f"blocks.{number}.site_qkv", block.qkv), (block.norm2, f"blocks.{number}.site_up", block.up)]
        for norm, site, layer in pairs:
            x, w = seen[site].flatten(0, -2).abs().amax(0), layer.weight.detach().abs().amax(0)
            scale = (x.clamp(min=1e-5).pow(self.migration) / w.clamp(min=1e-5).pow(1 - self.migration)).clamp(min=1e-5)
            layer.weight.data = layer.weight.detach() * scale
            norm.weight.data = norm.weight.detach() / scale
            norm.bias.data = norm.bias.detach() / scale
