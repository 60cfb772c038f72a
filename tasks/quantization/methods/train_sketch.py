"""Linear layers that keep a random sketch of their input for the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from kernels.quantization.hadamard import hadamard_reference
from tasks.quantization.training import Arithmetic, TrainingNumerics

Sketch = Literal["gaussian", "rademacher", "rows", "hadamard"]


def sketch(x: Tensor, size: int, kind: Sketch, seed: int) -> Tensor:
    """S^T x, [size, n], of x [batch, n] with a random S [batch, size] drawn from `seed`, E[S S^T] = I.

    rows: a random choice of rows, without replacement. hadamard: signs, orthonormal Hadamard transform, a random choice of its rows.
    """
    generator, batch = torch.Generator().manual_seed(seed), len(x)
    if kind == "gaussian":
        return (torch.randn(size, batch, generator=generator) / size**0.5) @ x
    if kind == "rademacher":
        return ((2.0 * torch.randint(2, (size, batch), generator=generator) - 1) / size**0.5) @ x
    if kind == "hadamard":
        signs = 2.0 * torch.randint(2, (batch, 1), generator=generator) - 1
        whole = 1 << (batch - 1).bit_length()
        x = hadamard_reference(F.pad((x * signs).T, (0, whole - batch))).T
        batch = whole
    chosen = torch.randperm(batch, generator=generator)[:size]
    return x[chosen] * (batch / size) ** 0.5


class SketchedLinear(torch.autograd.Function):
    """x W^T + b; the gradients of x and b are exact, the weight's is (S^T dY)^T S^T x with S drawn again from a seed."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor, size: int, kind: Sketch, seed: int) -> Tensor:
        context.size, context.kind, context.seed = size, kind, seed
        context.save_for_backward(sketch(x, size, kind, seed), weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight = context.saved_tensors
        gradient = gradients[0]
        wanted = sketch(gradient, context.size, context.kind, context.seed).T @ kept
        return gradient @ weight, wanted, gradient.sum(0), None, None, None


class SketchedArithmetic(Arithmetic):
    """float32, but each linear layer keeps a sketch."""

    def __init__(self, parameters: Sequence[Tensor], share: float, kind: Sketch, generator: torch.Generator) -> None:
        super().__init__(parameters)
        self.share, self.kind, self.generator = share, kind, generator

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        seed = int(torch.randint(1 << 62, (1,), generator=self.generator))
        return SketchedLinear.apply(x, weight, bias, max(1, round(self.share * len(x))), self.kind, seed)


class RandomisedBackward(TrainingNumerics, name="train-sketch", label="Randomised backward", paper=181):
    """Paper 181, "Memory-Efficient Backpropagation through Large Linear Layers": instead of its input a linear layer keeps a random
    projection of it along the batch; the weight's gradient becomes an unbiased estimate, everything else stays exact."""

    share: float = Field(0.5, gt=0, le=1, description="rows of the sketch per row of the batch")
    kind: Sketch = Field("gaussian", description="distribution of the projection")

    def start(self, parameters: Sequence[Tensor], generator: torch.Generator) -> Arithmetic:
        return SketchedArithmetic(parameters, self.share, self.kind, generator)
