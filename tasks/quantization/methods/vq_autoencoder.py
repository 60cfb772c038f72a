"""A small autoencoder whose encoder has few-bit weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tasks.quantization.vq import Code, Tables, VectorCodec

#: Output range of the encoder: outputs are clamped to it and rounded to 2^output_bits steps.
TOP = 4.0
CHANNELS, OUTPUTS, HIDDEN = 8, 16, 128


class FrameAutoencoder(VectorCodec, name="vq-autoencoder", label="Autoencoder", paper=142):
    """The encoder of paper 142, "A reconfigurable neural network ASIC for detector front-end data compression at the HL-LHC": frames of 3
    layers of 4x4 cells, 8 filters of 3x3, 16 outputs, all through ReLU, with `weight_bits` bits per weight and `output_bits` per output.

    `aware` trains through the rounding of weights and outputs (straight-through); else a float network is trained and rounded afterwards.
    The decoder (128 hidden units, float) stands off the detector. Loss: squared error of cells and of 2x2 sums.
    """

    dimensions: ClassVar[int | None] = 48

    weight_bits: int = Field(6, ge=0, le=16, description="bits per encoder weight; 0 keeps float32")
    output_bits: int = Field(5, ge=1, le=12, description="bits per output; 16 outputs make a frame")
    aware: bool = True
    steps: int = Field(1500, ge=1)
    batch: int = Field(256, ge=1)
    rate: float = Field(3e-3, gt=0)

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        frames, scale = torch.from_numpy(x), float(x.std())
        encoder = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * CHANNELS, OUTPUTS), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(OUTPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 48))
        for parameter in (*encoder.parameters(), *decoder.parameters()):
            deviation = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.0
            parameter.data = torch.randn(parameter.shape, generator=generator) * deviation
        adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=self.rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, self.rate, total_steps=self.steps + 1)
        for _ in range(self.steps):
            batch = frames[torch.randint(len(frames), (self.batch,), generator=generator)]
            places = self._places(encoder, batch / scale, self.aware)
            codes = places + (places.round() - places).detach() if self.aware else places
            back = decoder(codes * self._unit()) * scale
            loss = F.mse_loss(back, batch) + F.mse_loss(_sums(back), _sums(batch)) / 4
            adam.zero_grad()
            (loss / scale**2).backward()
            adam.step()
            schedule.step()

        def encode(vectors: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                places = self._places(encoder, torch.from_numpy(vectors) / scale, True)
            return places.round().long().numpy()

        tables = {name: parameter.detach().numpy() for name, parameter in decoder.named_parameters()}
        tables["2.weight"], tables["2.bias"] = tables["2.weight"] * scale, tables["2.bias"] * scale
        return Code(encode, (1 << self.output_bits,) * OUTPUTS, {**tables, "unit": np.array([self._unit()])})

    def _unit(self) -> float:
        """Output per code."""
        return TOP / ((1 << self.output_bits) - 1)

    def _places(self, encoder: nn.Sequential, scaled: Tensor, rounded: bool) -> Tensor:
        """Encoder outputs in units of a code, within the codes' range, [n, 16]; with few-bit weights if `rounded`."""
        parameters: dict[str, Tensor] = dict(encoder.named_parameters())
        if rounded and self.weight_bits:
            parameters = {name: _few_bits(parameter, self.weight_bits) for name, parameter in parameters.items()}
        out = torch.func.functional_call(encoder, parameters, (scaled.view(-1, 3, 4, 4),))
        return out.clamp(max=TOP) / self._unit()

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        codes = indices.astype(np.float32) * tables["unit"]
        hidden = np.maximum(codes @ tables["0.weight"].T + tables["0.bias"], 0)
        return hidden @ tables["2.weight"].T + tables["2.bias"]


def _few_bits(weight: Tensor, bits: int) -> Tensor:
    """Symmetric rounding per tensor to 2^bits - 1 levels; the gradient passes through."""
    top = (1 << (bits - 1)) - 1
    scale = weight.detach().abs().max().clamp(min=1e-12) / max(top, 1)
    rounded = (weight / scale).round().clamp(-top, top) * scale
    return weight + (rounded - weight).detach()


def _sums(frames: Tensor) -> Tensor:
    """Sums over 2x2 cells, [n, 12]."""
    return 4 * F.avg_pool2d(frames.view(-1, 3, 4, 4), 2).flatten(1)
