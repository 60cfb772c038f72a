"""What the tasks on the byte-level language model share: the seed's model and windows, and the float32 reference."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from tasks.api import Fixture, Task
from tasks.quantization.byte_gpt import ByteGpt, Preset, windows_of
from tasks.quantization.corpus import standard_library
from tasks.quantization.evaluate import BATCH, Reference, References, reference
from tasks.quantization.gpt import Gpt

#: Methods that share a model and windows need one float32 forward pass between them.
_REFERENCES = References()


class LanguageModelTask(Task, family="quantization"):
    """A task on the byte-level GPT. A seed is one paired draw of everything that is random: its model (`seed` modulo `models`), its
    calibration windows, its held-out evaluation windows and the method's own randomness.

    With `models` at least the number of seeds, an interval over seeds speaks about models trained by this recipe; with fewer, as in `quick`
    suites, only about windows of those models.
    """

    preset: Preset = Field(
        "standard", description="smoke: for tests; quick: 2 layers, 250 steps; standard: 4 layers, 1000 steps, about 1.9 bits/byte"
    )
    models: int = Field(5, ge=1, description="number of distinct base models among which seeds rotate")
    windows: int = Field(256, ge=8, le=4096, description="evaluation windows of 128 bytes from the held-out text")

    def base(self, seed: int) -> ByteGpt:
        """The recipe of the seed's model."""
        return ByteGpt.preset(self.preset, seed % self.models)

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (self.base(seed),)

    def data_fingerprint(self) -> str:
        return standard_library().sha256

    def held_out(self, model: Gpt, seed: int) -> tuple[Tensor, Reference]:
        """The seed's evaluation windows [windows, context + 1] and what the float32 model does on them."""
        windows = windows_of(standard_library().validation, model.context, self.windows, self.streams(seed).numpy("eval"))
        key = (self.id(), self.base(seed), seed, self.windows)
        return windows, _REFERENCES.get(key, lambda: reference(model, windows))

    def calibration_windows(self, model: Gpt, seed: int, count: int) -> Tensor:
        """The seed's calibration windows from the training text, [count, context + 1]."""
        return windows_of(standard_library().train, model.context, count, self.streams(seed).numpy("data"))

    def calibration_batches(self, model: Gpt, seed: int, count: int) -> list[Tensor]:
        """The calibration windows' inputs as batches [n, context]."""
        return list(self.calibration_windows(model, seed, count)[:, :-1].split(BATCH))
