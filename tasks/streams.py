"""Random streams derived from (task, role, seed), so that comparisons are paired by construction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

#: data: which examples, splits, label noise. init: initial weights. noise: environment noise (reward noise). order: batch order.
#: method: the method's own randomness. eval: the evaluator's (attack restarts, evaluation windows); no method ever sees it.
Role = Literal["data", "init", "noise", "order", "method", "eval"]


@dataclass(frozen=True, slots=True)
class Streams:
    """The random streams of one (task, seed). Every call returns a fresh generator at the start of its stream."""

    task: str
    seed: int

    def integer(self, role: Role) -> int:
        """A 63-bit seed for this role, stable across machines and versions."""
        text = f"assay-stream-1|{self.task}|{role}|{self.seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def numpy(self, role: Role) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(self.integer(role)))

    def torch(self, role: Role, device: str = "cpu") -> torch.Generator:
        import torch

        return torch.Generator(device=device).manual_seed(self.integer(role))
