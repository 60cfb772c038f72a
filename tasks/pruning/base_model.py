"""The network that is pruned: a multilayer perceptron on 8x8 digits."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydantic import Field

from kernels.mlp import Mlp, train_mlp
from tasks.api import Context, Fixture
from tasks.datasets import digits, digits_fingerprint
from tasks.streams import Streams

CLASSES = 10


class PruningBaseModel(Fixture, name="pruning-digits", version=1, seconds=2):
    """An MLP on digits, trained to convergence with AdamW."""

    train: int = Field(1000, ge=10, le=1700, description="training rows; the rest is the test split")
    hidden: tuple[int, ...] = (256, 128)
    epochs: int = Field(40, ge=1)
    batch: int = Field(50, ge=1)
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    seed: int = Field(0, ge=0)

    def fingerprint(self) -> dict[str, str]:
        return {"digits": digits_fingerprint(), "torch": version("torch")}

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the training and of the test split."""
        rows = Streams("pruning/digits-oneshot", self.seed).numpy("data").permutation(len(digits()[1]))
        return rows[: self.train], rows[self.train :]

    def build(self, folder: Path, context: Context) -> None:
        images, labels = digits()
        streams = Streams("pruning/digits-oneshot", self.seed)
        rows, _ = self.split()
        train_mlp(
            images[rows],
            labels[rows],
            (images.shape[1], *self.hidden, CLASSES),
            epochs=self.epochs,
            batch=self.batch,
            lr=self.lr,
            weight_decay=self.weight_decay,
            init=streams.torch("init"),
            order=streams.torch("order"),
        ).save(folder / "network.npz")

    def load(self, folder: Path) -> Mlp:
        return Mlp.load(folder / "network.npz")
