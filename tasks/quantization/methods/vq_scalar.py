"""Each dimension on its own."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kernels.quantization.grids import lloyd_max
from tasks.quantization.vq import Code, Tables, VectorCodec


class ScalarGrid(VectorCodec, name="vq-scalar", label="Scalar (Lloyd-Max)"):
    """The Lloyd-Max grid of the normal distribution (Max 1960) on every dimension, shifted and scaled to its mean and deviation."""

    levels: int = Field(2, ge=1, le=256)

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        mean, deviation = x.mean(0), np.maximum(x.std(0), 1e-12)
        grid = lloyd_max(self.levels)
        middle = (grid[1:] + grid[:-1]) / 2
        table = (mean[:, None] + deviation[:, None] * grid).astype(np.float32)
        return Code(lambda vectors: np.searchsorted(middle, (vectors - mean) / deviation), (self.levels,) * x.shape[1], {"levels": table})

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        return np.take_along_axis(tables["levels"], indices.T, axis=1).T
