"""The network of the size task: a plain convolutional classifier of 8x8 digits, without normalisation, as a fixture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tasks.api import Context, Fixture
from tasks.datasets import digits, digits_fingerprint
from tasks.quantization.byte_gpt import one_thread
from tasks.streams import Streams

RATE = 2e-2  #: peak of the one-cycle schedule


def convolutional() -> nn.Sequential:
    """31,930 parameters; images [n, 1, 8, 8] to logits [n, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(48, 48, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


@dataclass(frozen=True, slots=True)
class TrainedDigits:
    """A trained network with the split it was trained on: images [n, 1, 8, 8] float32 and labels [n]. Read-only."""

    model: nn.Sequential
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


class DigitsConvNet(Fixture, name="digits-convnet", seconds=6.0):
    """Adam, images rolled by up to one pixel; about .985 on the test split after 60 epochs."""

    seed: int = Field(0, ge=0, description="split, initial weights, order of batches")
    epochs: int = Field(60, ge=1)

    def fingerprint(self) -> dict[str, str]:
        return {"digits": digits_fingerprint(), "torch": torch.__version__}

    def split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training and test images and labels, 70 to 30, stratified."""
        from sklearn.model_selection import train_test_split

        images, labels = digits()
        state = int(Streams(self.name, self.seed).numpy("data").integers(1 << 31))
        x_train, x_test, y_train, y_test = train_test_split(
            images.reshape(-1, 1, 8, 8), labels, test_size=0.3, random_state=state, stratify=labels
        )
        return tuple(torch.from_numpy(part) for part in (x_train, y_train, x_test, y_test))  # type: ignore[return-value]

    def build(self, folder: Path, context: Context) -> None:
        streams = Streams(self.name, self.seed)
        images, labels, _, _ = self.split()
        order, start = streams.torch("order"), streams.torch("init")
        with one_thread(), torch.enable_grad():
            model = convolutional()
            for parameter in model.parameters():
                fan_in = parameter[0].numel()
                deviation = (2 / fan_in) ** 0.5 if parameter.ndim > 1 else 0.0
                parameter.data = torch.randn(parameter.shape, generator=start) * deviation
            adam = torch.optim.Adam(model.parameters(), lr=RATE)
            steps = self.epochs * (len(images) // 64)
            schedule = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps + 1)
            for _ in range(self.epochs):
                for rows in torch.randperm(len(images), generator=order).split(64)[: len(images) // 64]:
                    shift = torch.randint(-1, 2, (2,), generator=order).tolist()
                    loss = F.cross_entropy(model(images[rows].roll(shift, (2, 3))), labels[rows])
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
                    schedule.step()
        torch.save(model.state_dict(), folder / "model.pt")

    def load(self, folder: Path) -> TrainedDigits:
        model = convolutional()
        model.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        images, labels, test_images, test_labels = self.split()
        return TrainedDigits(model.requires_grad_(False).eval(), images, labels, test_images, test_labels)
