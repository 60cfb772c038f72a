"""A toy family for planner and command-line tests: cheap, deterministic, one task and a few methods."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from tasks.api import Context, Fixture, Measured, Method, Metric, Task


class Adder(Method, family="toy"):
    """Adds something to a number."""

    def add(self, value: float) -> float:
        return value


class One(Adder, name="one", label="Plus one"):
    """Adds `step`."""

    step: int = Field(1, ge=0, le=10)

    def infeasible(self) -> str | None:
        return "toy/one can't add 7." if self.step == 7 else None

    def add(self, value: float) -> float:
        return value + self.step


class Two(Adder, name="two", paper=6):
    """Adds two."""

    def add(self, value: float) -> float:
        return value + 2


class Stranger(Method, family="toy", name="stranger"):
    """Follows no protocol that the task accepts."""


class Base(Fixture, name="toy-base", seconds=0.1):
    """A number on disk."""

    base: int = 0

    def build(self, folder: Path, context: Context) -> None:
        (folder / "base").write_text(str(self.base))

    def load(self, folder: Path) -> int:
        return int((folder / "base").read_text())


class Add(Task, family="toy", name="add", accepts=(Adder,), seconds=0.01):
    """Seed plus what the method adds."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("total", "1", "higher", "the sum", primary=True),
        Metric("draw", "1", "none", "a draw from the data stream", low=0.0, high=1.0),
        Metric("trace", "1", "none", "the sum by step", curve="step"),
    )
    base: int = 0

    def data_fingerprint(self) -> str:
        return "toy-data-1"

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (Base(base=self.base),)

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, Adder)
        total = method.add(seed + context.fixture(Base(base=self.base)))
        draw = float(self.streams(seed).numpy("data").random())
        return Measured({"total": total, "draw": draw}, {"trace": ([1, 2], [0.0, total])})
