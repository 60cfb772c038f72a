"""The trace of each matrix's Hessian as its sensitivity, as a fixture.

Noise that is independent of the weights, with squared norm t^2 ||W||^2, raises the loss by tr(H) t^2 ||W||^2 / (2 size) to second order:
the same unit as the coefficients of `sensitivity`. HAWQ-V2 (Dong et al. 2020) allocates bits by this trace.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tasks.api import Context, Fixture
from tasks.quantization.byte_gpt import ByteGpt, one_thread, windows_of
from tasks.quantization.corpus import standard_library
from tasks.quantization.gpt import Gpt, loss_of
from tasks.streams import Streams


class ByteGptCurvature(Fixture, name="byte-gpt-curvature", seconds=30.0):
    """Coefficients from Hessian traces of every matrix of a trained byte-level GPT, in bits/byte per unit of relative squared error."""

    base: ByteGpt = ByteGpt()
    windows: int = Field(48, ge=1, description="windows of training text")
    probes: int = Field(8, ge=1, description="random directions of Hutchinson's estimate")

    def fingerprint(self) -> dict[str, str]:
        return self.base.fingerprint()

    def needs(self) -> tuple[Fixture, ...]:
        return (self.base,)

    def build(self, folder: Path, context: Context) -> None:
        model = copy.deepcopy(context.fixture(self.base))  # its matrices will require gradients
        streams = Streams(self.name, self.base.seed)
        windows = windows_of(standard_library().train, self.base.context, self.windows, streams.numpy("data"))
        with one_thread():
            found = hessian_coefficients(model, windows, self.probes, streams.torch("noise"))
        (folder / "curvature.json").write_text(json.dumps(found, indent=1))

    def load(self, folder: Path) -> dict[str, float]:
        found: dict[str, float] = json.loads((folder / "curvature.json").read_text())
        return found


def hessian_coefficients(model: Gpt, windows: Tensor, probes: int, generator: torch.Generator) -> dict[str, float]:
    """tr(H_l) mean(w^2) / 2 by matrix, with tr(H_l) = E[v_l . (H v)_l] for random signs v on all matrices at once: the blocks between two
    matrices average out (Hutchinson 1989)."""
    matrices = {name: layer.weight.requires_grad_(True) for name, layer in model.matrices().items()}
    traces = dict.fromkeys(matrices, 0.0)
    weights = list(matrices.values())
    # The fused attention kernels have no second derivative.
    with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        gradients = torch.autograd.grad(loss_of(model, windows), weights, create_graph=True)
        for _ in range(probes):
            signs = [torch.randint(2, weight.shape, generator=generator) * 2.0 - 1 for weight in weights]
            slope = torch.stack([(gradient * sign).sum() for gradient, sign in zip(gradients, signs, strict=True)]).sum()
            products = torch.autograd.grad(slope, weights, retain_graph=True)
            for name, sign, product in zip(matrices, signs, products, strict=True):
                traces[name] += float((sign * product).sum()) / probes
    return {name: traces[name] * float(weight.detach().square().mean()) / 2 / math.log(2) for name, weight in matrices.items()}
