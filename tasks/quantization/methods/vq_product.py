"""Product quantization."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from pydantic import Field

from tasks.quantization.lloyd import assign, lloyd
from tasks.quantization.vq import Code, Tables, VectorCodec


class Product(VectorCodec, name="vq-product", label="Product quantization"):
    """Product quantization (Jégou, Douze & Schmid 2011): the dimensions are cut into runs, each with a codebook of its own."""

    parts: int = Field(2, ge=1, le=48)
    codes: int = Field(16, ge=1, le=4096, description="codewords per part")
    iterations: int = Field(50, ge=1)

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        cuts = np.linspace(0, x.shape[1], min(self.parts, x.shape[1]) + 1).astype(int)
        books = [lloyd(np.ascontiguousarray(x[:, a:b]), self.codes, self.iterations, rng) for a, b in pairwise(cuts)]

        def encode(vectors: np.ndarray) -> np.ndarray:
            return np.stack([assign(vectors[:, a:b], book) for (a, b), book in zip(pairwise(cuts), books, strict=True)], 1)

        return Code(encode, (self.codes,) * len(books), {f"book{i}": book for i, book in enumerate(books)})

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        return np.concatenate([tables[f"book{i}"][index] for i, index in enumerate(indices.T)], 1)
