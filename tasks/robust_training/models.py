"""The networks that the task hands to a method. Inputs are [n, 64] pixels of 8x8 images, outputs [n, 10] logits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

Architecture = Literal["mlp", "cnn", "cnn-bn"]

SIDE, CLASSES = 8, 10


def build(architecture: Architecture, width: int, seed: int) -> nn.Module:
    """A freshly initialised network; the same `seed` gives the same weights whatever was drawn before.

    "mlp": 64-width-width-10 with ReLU. "cnn": two 3x3 convolutions with width/16 and width/8 channels (stride 1, then 2), ReLU and a linear
    head. "cnn-bn": the same with batch normalisation after each convolution.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture == "mlp":
            return nn.Sequential(nn.Linear(SIDE * SIDE, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES))
        first, second = max(1, width // 16), max(1, width // 8)
        normalise = architecture == "cnn-bn"
        return nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            nn.Conv2d(1, first, 3, padding=1),
            *([nn.BatchNorm2d(first)] if normalise else []),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            *([nn.BatchNorm2d(second)] if normalise else []),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * (SIDE // 2) ** 2, CLASSES),
        )
