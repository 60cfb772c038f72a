"""The classifier that is calibrated: a multilayer perceptron on 8x8 digits, and its logits on every view of the two other splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import numpy as np
from pydantic import Field

from kernels.mlp import train_mlp
from tasks.api import Context, Fixture
from tasks.calibration.protocol import Outputs
from tasks.calibration.views import SHIFTS, TRANSFORMS, shifted, transform
from tasks.datasets import digits, digits_fingerprint
from tasks.streams import Streams

CLASSES = 10


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A trained classifier as its users see it: outputs and labels of the calibration split, and of the test split under each shift."""

    calibration: Outputs
    calibration_labels: np.ndarray
    test: Mapping[str, Outputs]
    test_labels: np.ndarray


class DigitsBaseModel(Fixture, name="calibration-digits", version=1, seconds=3):
    """An MLP on digits, Adam without weight decay: 300 to 600 training rows that it can memorise, wrong labels included."""

    train: int = Field(300, ge=10, le=1000, description="training rows")
    calibration: int = Field(400, ge=10, le=700, description="calibration rows; the rest is the test split")
    train_noise: float = Field(0.2, ge=0, le=0.9, description="share of training labels replaced by another class")
    other_noise: float = Field(0.0, ge=0, le=0.9, description="the same for the calibration and test splits")
    hidden: tuple[int, ...] = (256, 256)
    epochs: int = Field(200, ge=1)
    batch: int = Field(50, ge=1)
    lr: float = Field(1e-3, gt=0)
    seed: int = Field(0, ge=0)

    def fingerprint(self) -> dict[str, str]:
        return {"digits": digits_fingerprint(), "torch": version("torch"), "scipy": version("scipy")}

    def build(self, folder: Path, context: Context) -> None:
        images, labels = digits()
        streams = Streams("calibration/digits", self.seed)
        train, calibration, test = np.split(streams.numpy("data").permutation(len(images)), [self.train, self.train + self.calibration])
        noise = streams.numpy("noise")
        noisy = labels.copy()
        for rows, share in ((train, self.train_noise), (calibration, self.other_noise), (test, self.other_noise)):
            wrong = noise.permutation(rows)[: round(share * len(rows))]
            noisy[wrong] = (labels[wrong] + noise.integers(1, CLASSES, len(wrong))) % CLASSES
        mlp = train_mlp(
            images[train],
            noisy[train],
            (images.shape[1], *self.hidden, CLASSES),
            epochs=self.epochs,
            batch=self.batch,
            lr=self.lr,
            init=streams.torch("init"),
            order=streams.torch("order"),
        )
        arrays = {"calibration_labels": noisy[calibration], "test_labels": noisy[test]}
        eval_rng = streams.numpy("eval")
        splits = {"calibration": images[calibration]} | {f"test-{shift}": shifted(shift, images[test], eval_rng) for shift in SHIFTS}
        for split, inputs in splits.items():
            arrays[split] = np.stack([mlp.logits(view) for view in (inputs, *(transform(name, inputs, eval_rng) for name in TRANSFORMS))])
        np.savez(folder / "outputs.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options

    def load(self, folder: Path) -> BaseModel:
        with np.load(folder / "outputs.npz") as arrays:
            return BaseModel(
                _outputs(arrays["calibration"]),
                _read_only(arrays["calibration_labels"]),
                {shift: _outputs(arrays[f"test-{shift}"]) for shift in SHIFTS},
                _read_only(arrays["test_labels"]),
            )


def _outputs(stacked: np.ndarray) -> Outputs:
    logits, *transformed = (_read_only(view.astype(np.float64)) for view in stacked)
    return Outputs(logits, MappingProxyType(dict(zip(TRANSFORMS, transformed, strict=True))))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
