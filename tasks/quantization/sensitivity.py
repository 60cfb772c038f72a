"""How much each matrix of the language model matters: the coefficients alpha of the linearity theorem, as a fixture.

Paper 6: for noise that is independent of the weights, the loss increases by about sum_l alpha_l t_l^2, where t_l^2 is layer l's relative
squared weight error. Two estimates of alpha, both in bits/byte per unit of t^2:
noise  - add Gaussian noise of known t^2 to one layer, measure the loss on training text, fit through the origin;
fisher - half the trace of the Fisher information (gradients on labels sampled from the model) times the layer's mean squared weight.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field

from tasks.api import Context, Fixture
from tasks.quantization.byte_gpt import ByteGpt, one_thread, windows_of
from tasks.quantization.corpus import standard_library
from tasks.quantization.gpt import Gpt, loss_of
from tasks.streams import Streams

#: Relative squared errors tried: large enough to rise above the noise of the loss, small enough for the linear regime.
LEVELS = (0.01, 0.03)
BATCH = 32


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Coefficients by layer name, in bits/byte per unit of relative squared weight error."""

    noise: dict[str, float]
    fisher: dict[str, float]

    def of(self, kind: str) -> dict[str, float]:
        """The estimate called "noise" or "fisher"."""
        return self.noise if kind == "noise" else self.fisher


class ByteGptSensitivity(Fixture, name="byte-gpt-sensitivity", seconds=70.0):
    """Noise and Fisher coefficients of every matrix of a trained byte-level GPT."""

    base: ByteGpt = ByteGpt()
    windows: int = Field(192, ge=1, description="windows of training text per loss evaluation")

    def fingerprint(self) -> dict[str, str]:
        return self.base.fingerprint()

    def needs(self) -> tuple[Fixture, ...]:
        return (self.base,)

    def build(self, folder: Path, context: Context) -> None:
        model = copy.deepcopy(context.fixture(self.base))  # weights are perturbed in place below
        streams = Streams(self.name, self.base.seed)
        windows = windows_of(standard_library().train, self.base.context, self.windows, streams.numpy("data"))
        with one_thread():
            measured = {
                "noise": noise_coefficients(model, windows, streams.torch("noise")),
                "fisher": fisher_coefficients(model, windows[: max(1, self.windows // 3)], streams.torch("method")),
            }
        (folder / "sensitivity.json").write_text(json.dumps(measured, indent=1))

    def load(self, folder: Path) -> Sensitivity:
        return Sensitivity(**json.loads((folder / "sensitivity.json").read_text()))


@torch.no_grad()
def noise_coefficients(model: Gpt, windows: torch.Tensor, generator: torch.Generator) -> dict[str, float]:
    """Each draw of noise is used with both signs, which cancels the first-order term."""

    def bits() -> float:
        return sum(float(loss_of(model, batch)) * len(batch) for batch in windows.split(BATCH)) / len(windows) / math.log(2)

    base = bits()
    found = {}
    for name, layer in model.matrices().items():
        weight = layer.weight.clone()
        direction = torch.randn(weight.shape, generator=generator)
        direction *= weight.norm() / direction.norm()
        cross = square = 0.0
        for level in LEVELS:
            for sign in (1, -1):
                layer.weight.copy_(weight + sign * math.sqrt(level) * direction)
                cross += level * (bits() - base)
                square += level * level
        layer.weight.copy_(weight)
        found[name] = cross / square
    return found


def fisher_coefficients(model: Gpt, windows: torch.Tensor, generator: torch.Generator) -> dict[str, float]:
    """Scores of sampled labels are independent with mean zero, so one gradient per window gives the sum over its positions unbiasedly."""
    matrices = model.matrices()
    squares = dict.fromkeys(matrices, 0.0)
    with torch.enable_grad():
        for layer in matrices.values():
            layer.weight.requires_grad_(True)
        for window in windows.split(1):
            logits = model(window[:, :-1]).flatten(0, 1)
            labels = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)[:, 0]
            gradients = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), [layer.weight for layer in matrices.values()])
            for name, gradient in zip(matrices, gradients, strict=True):
                squares[name] += float(gradient.square().sum())
        for layer in matrices.values():
            layer.weight.requires_grad_(False)
    positions = windows.shape[0] * (windows.shape[1] - 1)
    return {name: 0.5 * squares[name] / positions * float(layer.weight.square().mean()) / math.log(2) for name, layer in matrices.items()}
