"""The base model of the language-model tasks: a byte-level GPT trained on the standard library's source, as a fixture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from tasks.api import Context, Fixture
from tasks.quantization.corpus import standard_library
from tasks.quantization.gpt import Gpt, initialise, train
from tasks.streams import Streams

Preset = Literal["smoke", "quick", "standard"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: sums keep their order, so a trial gives the same bits whatever else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ByteGpt(Fixture, name="byte-gpt", seconds=240.0):
    """A byte-level GPT trained with Muon on 4 MiB of the standard library.

    The defaults are the reference recipe: 836,736 parameters, 2.05 M bytes, about 1.9 bits/byte, four CPU minutes.
    """

    seed: int = Field(0, ge=0, description="initial weights and batch order")
    width: int = Field(128, ge=8, description="model dimension")
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    context: int = Field(128, ge=8, description="bytes")
    steps: int = Field(1000, ge=1)
    windows: int = Field(16, ge=1, description="windows per step")

    @classmethod
    def preset(cls, preset: Preset, seed: int) -> ByteGpt:
        """`standard` is the reference recipe; `quick` trains half the layers for a quarter of the steps, in under a minute; `smoke` takes
        two seconds and learns next to nothing: for tests."""
        sizes: dict[str, dict[str, int]] = {
            "standard": {},
            "quick": {"layers": 2, "steps": 250},
            "smoke": {"layers": 2, "width": 64, "steps": 30, "windows": 8},
        }
        return cls(seed=seed, **sizes[preset])

    def fingerprint(self) -> dict[str, str]:
        return {"corpus": standard_library().sha256, "torch": torch.__version__}

    def build(self, folder: Path, context: Context) -> None:
        streams = Streams(self.name, self.seed)
        with one_thread(), torch.enable_grad():
            model = Gpt(self.width, self.layers, self.heads, self.context)
            initialise(model, streams.torch("init"))
            losses = train(model, standard_library().train, self.steps, self.windows, streams.numpy("order"))
        torch.save(model.state_dict(), folder / "model.pt")
        (folder / "losses.json").write_text(json.dumps([round(loss, 5) for loss in losses]))

    def load(self, folder: Path) -> Gpt:
        model = Gpt(self.width, self.layers, self.heads, self.context)
        model.load_state_dict(torch.load(folder / "model.pt", weights_only=True, map_location="cpu"))
        return model.requires_grad_(False).eval()


def windows_of(text: np.ndarray, context: int, count: int, rng: np.random.Generator) -> torch.Tensor:
    """`count` distinct non-overlapping windows of `text`, [count, context + 1] int64."""
    available = len(text) // (context + 1)
    chosen = np.sort(rng.permutation(available)[:count])
    return torch.from_numpy(text[chosen[:, None] * (context + 1) + np.arange(context + 1)].astype(np.int64))
