"""Multilayer perceptrons with ReLU: trained by Adam on one thread, evaluated and differentiated in plain numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Mlp:
    """Weights [outputs, inputs] and biases [outputs] of each layer, float32; ReLU between the layers, raw logits at the end."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def activations(self, inputs: np.ndarray) -> list[np.ndarray]:
        """What enters each layer, then the logits: arrays [n, width]."""
        values = [inputs]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = values[-1] @ weight.T + bias
            values.append(np.maximum(value, 0, out=value) if layer < len(self.weights) - 1 else value)
        return values

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Logits [n, classes] of inputs [n, features]."""
        return self.activations(inputs)[-1]

    def backpropagate(self, activations: Sequence[np.ndarray], gradient: np.ndarray) -> list[np.ndarray]:
        """Gradients [n, width] at each layer's output, given `gradient` [n, classes] at the logits; the layer's weights have the
        per-example gradient `result[layer][n, :, None] * activations[layer][n, None, :]`."""
        deltas = [gradient]
        for layer in range(len(self.weights) - 1, 0, -1):
            deltas.append((deltas[-1] @ self.weights[layer]) * (activations[layer] > 0))
        return deltas[::-1]

    def save(self, path: Path) -> None:
        arrays = {f"weight{index}": weight for index, weight in enumerate(self.weights)}
        arrays |= {f"bias{index}": bias for index, bias in enumerate(self.biases)}
        np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options

    @classmethod
    def load(cls, path: Path) -> Mlp:
        with np.load(path) as arrays:
            layers = len(arrays.files) // 2
            mlp = cls(tuple(arrays[f"weight{index}"] for index in range(layers)), tuple(arrays[f"bias{index}"] for index in range(layers)))
        for array in (*mlp.weights, *mlp.biases):
            array.setflags(write=False)
        return mlp


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def train_mlp(
    inputs: np.ndarray,
    labels: np.ndarray,
    widths: Sequence[int],
    *,
    epochs: int,
    batch: int,
    lr: float,
    weight_decay: float = 0.0,
    init: torch.Generator,
    order: torch.Generator,
) -> Mlp:
    """Train on inputs [n, widths[0]] and integer labels [n]: cross-entropy, AdamW, batches reshuffled each epoch.

    Weights and biases start uniform in +-1/sqrt(inputs of the layer). The same generators give the same bits on one machine.
    """
    import torch

    with one_torch_thread():
        parameters = []
        for fan_in, fan_out in pairwise(widths):
            for shape in ((fan_out, fan_in), (fan_out,)):
                parameter = torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=init)
                parameters.append(parameter.requires_grad_())
        x, y = torch.from_numpy(np.array(inputs, dtype=np.float32)), torch.from_numpy(np.array(labels, dtype=np.int64))
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, foreach=True)
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=order).split(batch):
                value = x[rows]
                for layer in range(0, len(parameters), 2):
                    value = torch.nn.functional.linear(value.relu() if layer else value, parameters[layer], parameters[layer + 1])
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(value, y[rows]).backward()
                optimizer.step()
        arrays = [parameter.detach().numpy().copy() for parameter in parameters]
    return Mlp(tuple(arrays[0::2]), tuple(arrays[1::2]))


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Run torch on one thread inside the block: sums then have one order, whatever the machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
