"""SmoothQuant: move the activations' outliers into the weights before rounding both."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from tasks.quantization import affine
from tasks.quantization.digit_nets import Cnn, ConvUnit, DigitNet, Vit, VitBlock
from tasks.quantization.networks import NetworkProblem, NetworkQuantizer, QuantisedNetwork, Ranges, calibrated, observe


class SmoothQuant(NetworkQuantizer, name="smoothquant", label="SmoothQuant"):
    """SmoothQuant (Xiao et al. 2023): divide input channel j of a layer by s_j = max|x_j|^a / max|w_j|^(1-a), multiply the weights.

    1/s goes into whatever makes the channel, so float32 results stay what they were: the layer norm before a linear layer of the
    transformer; in the CNN, through the ReLU, the convolutions before. A residual adds channels up, so its layers share s. Then weights
    are rounded per output channel and activations per tensor. Layers whose input nothing can rescale are left unsmoothed.
    """

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
        """Rescale in place the layers whose input channels can be rescaled where they are made."""
        seen = observe(network, problem.calibration)
        if isinstance(network, Cnn):
            self._smooth_streams(network, seen)
            return
        assert isinstance(network, Vit)
        pairs: list[tuple[nn.LayerNorm, str, nn.Linear]] = [(network.norm, "site_head", network.head)]
        for number, block in enumerate(network.blocks):
            assert isinstance(block, VitBlock)
            pairs += [(block.norm1, f"blocks.{number}.site_qkv", block.qkv), (block.norm2, f"blocks.{number}.site_up", block.up)]
        for norm, site, layer in pairs:
            scale = self._scale(seen[site].flatten(0, -2).abs().amax(0), layer.weight.detach().abs().amax(0))
            layer.weight.data = layer.weight.detach() * scale
            norm.weight.data = norm.weight.detach() / scale
            norm.bias.data = norm.bias.detach() / scale

    def _smooth_streams(self, network: Cnn, seen: dict[str, Tensor]) -> None:
        """The two residual streams of the folded CNN: the convolutions that make each, and the layers that read it with their sites."""
        streams: tuple[tuple[tuple[ConvUnit, ...], dict[str, nn.Conv2d | nn.Linear]], ...] = (
            ((network.stem, network.first), {"first.site": network.first.conv, "down.site": network.down.conv}),
            ((network.down, network.second), {"second.site": network.second.conv, "site": network.head}),
        )
        for makers, readers in streams:
            channels = makers[0].conv.out_channels
            x = torch.stack([_largest(seen[site], channels) for site in readers]).amax(0)
            w = torch.stack([_largest(layer.weight.detach(), channels) for layer in readers.values()]).amax(0)
            scale = self._scale(x, w)
            for unit in makers:
                assert unit.conv.bias is not None
                unit.conv.weight.data = unit.conv.weight.detach() / scale[:, None, None, None]
                unit.conv.bias.data = unit.conv.bias.detach() / scale
            for layer in readers.values():
                layer.weight.data = layer.weight.detach() * scale.view(1, -1, *[1] * (layer.weight.ndim - 2))

    def _scale(self, x: Tensor, w: Tensor) -> Tensor:
        """s by channel from the largest activations and weights."""
        return (x.clamp(min=1e-5).pow(self.migration) / w.clamp(min=1e-5).pow(1 - self.migration)).clamp(min=1e-5)


def _largest(x: Tensor, channels: int) -> Tensor:
    """Largest magnitude of each channel of the second axis."""
    return x.transpose(0, 1).reshape(channels, -1).abs().amax(1)
