"""Keep sums over neighbouring cells."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.quantization.vq import Code, Tables, VectorCodec


class CellSums(VectorCodec, name="vq-sums", label="2x2 sums"):
    """The coarse baseline of detector front ends: sums over 2x2 cells of each layer, rounded uniformly over the training range; within a
    sum, every cell takes its mean share."""

    dimensions: ClassVar[int | None] = 48
    bits: int = Field(4, ge=1, le=16, description="bits per sum; 12 sums make a frame")

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        levels = 1 << self.bits
        mean = x.mean(0)
        step = max(float(_sums(x).max()), 1e-12) / (levels - 1)
        share = mean / np.maximum(_sums(mean[None])[0][_group()], 1e-12)
        return Code(
            lambda vectors: np.rint(_sums(vectors) / step).clip(0, levels - 1).astype(np.int64),
            (levels,) * 12,
            {"share": share, "step": np.array([step])},
        )

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        return (indices * tables["step"])[:, _group()] * tables["share"]


def _group() -> np.ndarray:
    """The 2x2 sum that each of the 48 cells belongs to."""
    cell = np.arange(48)
    return cell // 16 * 4 + cell % 16 // 8 * 2 + cell % 4 // 2


def _sums(x: np.ndarray) -> np.ndarray:
    return np.stack([x[:, _group() == j].sum(1) for j in range(12)], 1)
