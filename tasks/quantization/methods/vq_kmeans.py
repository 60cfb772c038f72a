"""One codebook for whole vectors."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.lloyd import assign, lloyd
from tasks.quantization.vq import Code, Tables, VectorCodec


class KmeansVectors(VectorCodec, name="vq-kmeans", label="Flat codebook"):
    """An unstructured codebook fitted by k-means (Linde, Buzo & Gray 1980): the least distortion per bit, at a cost exponential in bits."""

    codes: int = Field(256, ge=1, le=4096)
    iterations: int = Field(50, ge=1)

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        book = lloyd(x, self.codes, self.iterations, rng)
        return Code(lambda vectors: assign(vectors, book)[:, None], (self.codes,), {"book": book})

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        return tables["book"][indices[:, 0]]
