"""Transform coding: principal components, bits where the variance is."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from kernels.quantization.grids import distortion, lloyd_max
from tasks.quantization.vq import Code, Tables, VectorCodec

#: No component takes more bits than this.
MOST = 8


class TransformCoding(VectorCodec, name="vq-transform", label="PCA + scalar"):
    """Transform coding (Huang & Schultheiss 1963): rotate to principal components, give each the bits that lower the total error most,
    quantise each by the Lloyd-Max grid of the normal distribution."""

    bits: int = Field(8, ge=0, le=384, description="bits per vector")

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        mean = x.mean(0)
        variance, axes = np.linalg.eigh(np.cov((x - mean).T.astype(np.float64)))
        error = [distortion(lloyd_max(1 << bits)) for bits in range(MOST + 1)]
        given = np.zeros(len(variance), dtype=np.int64)
        for _ in range(min(self.bits, MOST * len(variance))):
            gain = [v * (error[b] - error[b + 1]) if b < MOST else -1.0 for v, b in zip(variance, given, strict=True)]
            given[int(np.argmax(gain))] += 1
        kept = np.flatnonzero(given)
        deviation = np.sqrt(variance[kept].clip(min=1e-24))
        grids = [lloyd_max(1 << int(bits)) for bits in given[kept]]
        levels = np.zeros((len(kept), 1 << int(given.max(initial=0))), dtype=np.float32)
        for row, grid, scale in zip(levels, grids, deviation, strict=True):
            row[: len(grid)] = grid * scale
        basis = axes[:, kept].T.astype(np.float32)

        def encode(vectors: np.ndarray) -> np.ndarray:
            places = (vectors - mean) @ basis.T
            edges = [(grid[1:] + grid[:-1]) / 2 * scale for grid, scale in zip(grids, deviation, strict=True)]
            found = np.empty(places.shape, dtype=np.int64)
            for j, edge in enumerate(edges):
                found[:, j] = np.searchsorted(edge, places[:, j])
            return found

        return Code(encode, tuple(len(grid) for grid in grids), {"mean": mean, "basis": basis, "levels": levels})

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        return np.take_along_axis(tables["levels"], indices.T, axis=1).T @ tables["basis"] + tables["mean"]
