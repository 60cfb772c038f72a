"""A small byte-level GPT and the recipe that trains it (Muon for the matrices, AdamW for the rest)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY = 256


class Norm(nn.Module):
    """Root-mean-square normalisation with a gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.gain, eps=1e-6)


class Block(nn.Module):
    """Pre-norm attention and a GELU MLP of four times the width, without biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Bytes [batch, length] int64 to logits [batch, length, 256]; learned positions, tied embedding."""

    def __init__(self, width: int, layers: int, heads: int, context: int) -> None:
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = Norm(width)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens) + self.positions[: tokens.shape[1]]

    def head(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def matrices(self) -> dict[str, nn.Linear]:
        """The linear layers that quantizers work on, in order of execution; embedding, positions and norms stay in float32."""
        return {name: module for name, module in self.named_modules() if isinstance(module, nn.Linear)}


def initialise(model: Gpt, generator: torch.Generator) -> None:
    """N(0, 0.02), residual outputs scaled by 1/sqrt(2 layers) so that the residual stream keeps its variance."""
    residual = 1 / math.sqrt(2 * len(model.blocks))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                scale = 0.02 * (residual if name.endswith(("out.weight", "down.weight")) else 1.0)
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrix, coefficients of Jordan et al. (Muon, 2024)."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon:
    """Momentum orthogonalised by Newton-Schulz, for matrices (momentum .95, Nesterov, decoupled weight decay)."""

    def __init__(self, parameters: list[Tensor], rate: float = 0.02, momentum: float = 0.95, decay: float = 0.01) -> None:
        self.parameters, self.rate, self.momentum, self.decay = parameters, rate, momentum, decay
        self.buffers = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        for parameter, buffer in zip(self.parameters, self.buffers, strict=True):
            assert parameter.grad is not None
            buffer.mul_(self.momentum).add_(parameter.grad)
            update = orthogonalise(parameter.grad + self.momentum * buffer)
            rate = factor * self.rate * math.sqrt(max(1.0, parameter.shape[0] / parameter.shape[1]))
            parameter.mul_(1 - factor * self.rate * self.decay).sub_(update, alpha=rate)


def batches(text: np.ndarray, windows: int, context: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Endless random windows of context + 1 bytes, [windows, context + 1] int64."""
    while True:
        starts = rng.integers(0, len(text) - context, size=windows)
        yield torch.from_numpy(text[starts[:, None] + np.arange(context + 1)].astype(np.int64))


def loss_of(model: Gpt, batch: Tensor) -> Tensor:
    """Mean cross-entropy in nats per byte of [windows, context + 1] bytes."""
    return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def train(model: Gpt, text: np.ndarray, steps: int, windows: int, rng: np.random.Generator) -> list[float]:
    """Train in place with 5 % warm-up and a cosine to 5 %; returns the loss of every step in nats per byte."""
    matrices = [layer.weight for layer in model.matrices().values()]
    ours = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in ours]
    muon, adam = Muon(matrices), torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.95))
    warm = max(1, steps // 20)
    losses = []
    for step, batch in zip(range(steps), batches(text, windows, model.context, rng), strict=False):
        factor = min(1.0, (step + 1) / warm) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = loss_of(model, batch)
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in adam.param_groups:
            group["lr"] = 3e-3 * factor
        adam.step()
        muon.step(factor)
        losses.append(loss.item())
    return losses
