"""Keep the largest entries."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.vq import Code, Tables, VectorCodec


class LargestEntries(VectorCodec, name="vq-largest", label="Largest entries"):
    """The threshold baseline of detector front ends: the positions of the `count` entries farthest from the training mean and their
    deviations, each rounded uniformly over the training range; all other entries take their mean."""

    count: int = Field(5, ge=0, le=48)
    bits: int = Field(4, ge=1, le=16, description="bits per kept value; a position costs log2 of the dimensions")

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        mean = x.mean(0)
        d, levels = x.shape[1], 1 << self.bits
        count = min(self.count, d)
        low, high = float((x - mean).min()), float((x - mean).max())
        step = max(high - low, 1e-12) / (levels - 1)

        def encode(vectors: np.ndarray) -> np.ndarray:
            deviation = vectors - mean
            places = np.argsort(-np.abs(deviation), axis=1, kind="stable")[:, :count]
            codes = np.rint((np.take_along_axis(deviation, places, 1) - low) / step).clip(0, levels - 1)
            return np.concatenate([places, codes.astype(np.int64)], 1)

        return Code(encode, (d,) * count + (levels,) * count, {"mean": mean, "grid": low + step * np.arange(levels)})

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        count = indices.shape[1] // 2
        back = np.repeat(tables["mean"][None], len(indices), 0)
        places, codes = indices[:, :count], indices[:, count:]
        np.put_along_axis(back, places, np.take_along_axis(back, places, 1) + tables["grid"][codes], 1)
        return back
