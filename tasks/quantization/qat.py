"""Quantization-aware training: the loop that its variants share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.quantization.gpt import Gpt, batches

WINDOWS = 16  #: windows per step, as in the training recipe


class RoundThrough(torch.autograd.Function):
    """Rounds forward; backward passes the gradient on as if nothing had happened (straight-through estimator, Bengio et al. 2013)."""

    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(context: object, *gradients: Tensor) -> Tensor:
        return gradients[0]


def round_through(x: Tensor) -> Tensor:
    """`x` rounded half to even, with the identity as its derivative."""
    return RoundThrough.apply(x)


def train_quantised(
    model: Gpt,
    text: np.ndarray,
    quantised: Callable[[str], Tensor],
    parameters: Mapping[float, list[Tensor]],
    steps: int,
    seed: int,
) -> None:
    """Minimise the loss of `model` with its matrices replaced by `quantised(name)`, by Adam with a cosine to zero.

    `parameters` maps learning rates to the tensors they drive; embedding, positions and norms stay as they are.
    """
    adam = torch.optim.Adam([{"params": tensors, "lr": rate} for rate, tensors in parameters.items()])
    rates = list(parameters)
    names = list(model.matrices())
    for step, batch in zip(range(steps), batches(text, WINDOWS, model.context, np.random.default_rng(seed)), strict=False):
        for group, rate in zip(adam.param_groups, rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        replaced = {f"{name}.weight": quantised(name) for name in names}
        logits = torch.func.functional_call(model, replaced, (batch[:, :-1],))
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
