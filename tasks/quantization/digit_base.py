"""Float32 networks on digits as fixtures, and the loop that trains them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tasks.api import Context, Fixture
from tasks.datasets import digits, digits_fingerprint
from tasks.quantization.byte_gpt import one_thread
from tasks.quantization.digit_nets import SIDE, Architecture, DigitNet, initialised
from tasks.streams import Streams

BATCH = 64
#: Share of the steps that warm up, and decoupled weight decay. Without them the transformer stays below 95 %.
RECIPES: dict[Architecture, tuple[float, float]] = {"cnn": (0.0, 0.0), "vit": (0.1, 0.05)}


@dataclass(frozen=True)
class DigitSplit:
    """Images [n, 1, 8, 8] float32 in [0, 1] and labels [n] of a stratified split: 1257 to train on, 540 to test on."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@lru_cache(maxsize=8)
def split(seed: int) -> DigitSplit:
    """The split of a seed, the same for every task on these networks. Read-only."""
    from sklearn.model_selection import train_test_split

    images, labels = digits()
    state = int(Streams("quantization/digits", seed).numpy("data").integers(1 << 31))
    parts = train_test_split(images, labels, test_size=0.3, random_state=state, stratify=labels)
    x, x_test, y, y_test = (torch.from_numpy(np.array(part)) for part in parts)
    return DigitSplit(x.view(-1, 1, SIDE, SIDE), y, x_test.view(-1, 1, SIDE, SIDE), y_test)


def shuffled(images: Tensor, labels: Tensor, epochs: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of 64 over the epochs; in every second epoch the images move by up to one pixel (edges wrap, they are empty)."""
    for epoch in range(epochs):
        order = torch.from_numpy(rng.permutation(len(labels)))
        for rows in order.split(BATCH):
            x = images[rows]
            if epoch % 2:
                x = torch.roll(x, tuple(int(step) for step in rng.integers(-1, 2, 2)), (2, 3))
            yield x, labels[rows]


def wake_optimizers() -> None:
    """A process's first optimizer imports torch's compiler, which takes seconds: call this before a method's clock starts."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)


def steps_of(examples: int, epochs: int) -> int:
    """Number of batches that `shuffled` makes."""
    return epochs * math.ceil(examples / BATCH)


def train_network(
    network: DigitNet,
    batches: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    rate: float,
    warm: float = 0.0,
    decay: float = 0.0,
) -> None:
    """Minimise the cross-entropy in place by AdamW with a warm-up over the share `warm` of the steps and a cosine to zero."""
    adam = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    network.train()
    with torch.enable_grad():
        for step, (x, y) in enumerate(batches):
            for group in adam.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / max(1.0, warm * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
            loss = F.cross_entropy(network(x), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
    network.eval()


def accuracy(network: DigitNet, images: Tensor, labels: Tensor) -> float:
    """Share of images classified right."""
    with torch.no_grad():
        return float((network(images).argmax(1) == labels).double().mean())


class DigitsNetwork(Fixture, name="digits-network", seconds=10.0):
    """A CNN or a vision transformer trained on digits with AdamW."""

    architecture: Architecture = "cnn"
    width: int = Field(8, ge=4, le=256, description="channels of the CNN's first half; the transformer's model dimension")
    blocks: int = Field(3, ge=1, le=12, description="of the transformer")
    epochs: int = Field(20, ge=0)
    rate: float = Field(3e-3, gt=0, description="AdamW's largest learning rate")
    seed: int = Field(0, ge=0, description="split, initial weights and batch order")

    def fingerprint(self) -> dict[str, str]:
        return {"digits": digits_fingerprint(), "torch": torch.__version__}

    def fresh(self) -> DigitNet:
        """The network before training."""
        return initialised(self.architecture, self.width, self.blocks, Streams("quantization/digits", self.seed).integer("init"))

    def build(self, folder: Path, context: Context) -> None:
        data, rng = split(self.seed), Streams("quantization/digits", self.seed).numpy("order")
        network = self.fresh()
        with one_thread():
            steps = steps_of(len(data.labels), self.epochs)
            train_network(network, shuffled(data.images, data.labels, self.epochs, rng), steps, self.rate, *RECIPES[self.architecture])
        torch.save(network.state_dict(), folder / "network.pt")

    def load(self, folder: Path) -> DigitNet:
        network = self.fresh()
        network.load_state_dict(torch.load(folder / "network.pt", weights_only=True, map_location="cpu"))
        return network.requires_grad_(False).eval()
