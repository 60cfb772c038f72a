"""Small networks for 8x8 digits whose activations can be quantised: a residual CNN and a vision transformer.

Both name the places where an activation meets a matrix (`Site`) and the layers with a matrix, so that an evaluator can quantise either
without knowing the architecture.
"""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Architecture = Literal["cnn", "vit"]
CLASSES, SIDE = 10, 8


class Site(nn.Identity):
    """A named activation: the identity in float32, the place of a rounding in a quantised network."""


class DigitNet(nn.Module):
    """Images [batch, 1, 8, 8] in [0, 1] to logits [batch, 10]."""

    def matrices(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """Layers with a weight matrix [out, in] (a convolution's is its weight flattened from the second axis), in order of execution."""
        return {name: module for name, module in self.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}

    def sites(self) -> dict[str, Site]:
        """Activations that take part in a matrix product; the CNN's in order of execution, one per matrix."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Site)}

    def rest(self) -> dict[str, Tensor]:
        """Parameters that are no matrix of a layer: biases, gains, positions."""
        ours = {f"{name}.weight" for name in self.matrices()}
        return {name: parameter.detach() for name, parameter in self.named_parameters() if name not in ours}

    def folded(self) -> DigitNet:
        """A copy without batch norms."""
        return copy.deepcopy(self)


class ConvUnit(nn.Module):
    """Site, 3x3 convolution, batch norm (or, once folded, a bias) and ReLU."""

    def __init__(self, channels: int, out: int, stride: int = 1, norm: bool = True) -> None:
        super().__init__()
        self.site = Site()
        self.conv = nn.Conv2d(channels, out, 3, stride, 1, bias=not norm)
        self.norm = nn.BatchNorm2d(out) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(self.site(x))))


class Cnn(DigitNet):
    """Convolutions of c, c, 2c (stride 2) and 2c channels, a residual around the second and the fourth, mean over the image, linear.

    Every site's values are non-negative.
    """

    def __init__(self, width: int, norm: bool = True) -> None:
        super().__init__()
        self.width = width
        self.stem = ConvUnit(1, width, norm=norm)
        self.first = ConvUnit(width, width, norm=norm)
        self.down = ConvUnit(width, 2 * width, 2, norm)
        self.second = ConvUnit(2 * width, 2 * width, norm=norm)
        self.site = Site()
        self.head = nn.Linear(2 * width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.first(x)
        x = self.down(x)
        x = x + self.second(x)
        return self.head(self.site(x.mean((2, 3))))

    def units(self) -> dict[str, ConvUnit]:
        return {"stem": self.stem, "first": self.first, "down": self.down, "second": self.second}

    def folded(self) -> Cnn:
        """The same function in evaluation mode, with each batch norm's gain in the convolution and its shift in the bias."""
        plain = Cnn(self.width, norm=False)
        plain.head.load_state_dict(self.head.state_dict())
        for name, unit in self.units().items():
            target = plain.units()[name].conv
            gain, shift = norm_of(unit)
            target.weight.data = unit.conv.weight.detach() * gain[:, None, None, None]
            assert target.bias is not None
            target.bias.data = shift.clone()
        return plain.eval()


def norm_of(unit: ConvUnit) -> tuple[Tensor, Tensor]:
    """Gain and shift [out] of a unit's batch norm in evaluation mode (1 and the bias where it is folded)."""
    if not isinstance(unit.norm, nn.BatchNorm2d):
        assert unit.conv.bias is not None
        return torch.ones_like(unit.conv.bias), unit.conv.bias.detach()
    mean, variance = unit.norm.running_mean, unit.norm.running_var
    assert mean is not None
    assert variance is not None
    gain = (unit.norm.weight / (variance + unit.norm.eps).sqrt()).detach()
    return gain, (unit.norm.bias - mean * gain).detach()


class VitBlock(nn.Module):
    """Pre-norm attention and a GELU MLP; the non-linear operations are modules, so that they can be replaced."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.site_qkv = Site()
        self.qkv = nn.Linear(width, 3 * width)
        self.site_q, self.site_k, self.site_v = Site(), Site(), Site()
        self.softmax = nn.Softmax(-1)
        self.site_attention = Site()
        self.site_out = Site()
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.site_up = Site()
        self.up = nn.Linear(width, 4 * width)
        self.gelu = nn.GELU()
        self.site_down = Site()
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        size = width // self.heads
        q, k, v = self.qkv(self.site_qkv(self.norm1(x))).view(batch, length, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        attention = self.softmax(self.site_q(q) @ self.site_k(k).transpose(2, 3) / math.sqrt(size))
        mixed = (self.site_attention(attention) @ self.site_v(v)).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(self.site_out(mixed))
        return x + self.down(self.site_down(self.gelu(self.up(self.site_up(self.norm2(x))))))


class Vit(DigitNet):
    """Patches of 2x2 pixels (16 tokens), learned positions, pre-norm blocks, mean over tokens, linear."""

    def __init__(self, width: int, blocks: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.site_patch = Site()
        self.patch = nn.Linear(4, width)
        self.positions = nn.Parameter(0.5 * torch.randn(16, width))  # as large as the patches: 0.02 learned more slowly
        self.blocks = nn.ModuleList(VitBlock(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.site_head = Site()
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, 2, stride=2).transpose(1, 2)
        x = self.patch(self.site_patch(patches)) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.site_head(self.norm(x).mean(1)))


def initialised(architecture: Architecture, width: int, blocks: int, seed: int) -> DigitNet:
    """A network with torch's default initial weights drawn from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Cnn(width) if architecture == "cnn" else Vit(width, blocks)


def multiplications(network: DigitNet) -> dict[str, int]:
    """Multiply-accumulates per image of each layer with a matrix."""
    counts: dict[str, int] = {}

    def count(name: str, layer: nn.Module, output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        positions = output.numel() // layer.weight.shape[0]
        counts[name] = positions * layer.weight.numel()

    hooks = [
        layer.register_forward_hook(lambda layer, _, output, name=name: count(name, layer, output))
        for name, layer in network.matrices().items()
    ]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 1, SIDE, SIDE))
    finally:
        for hook in hooks:
            hook.remove()
    return counts
