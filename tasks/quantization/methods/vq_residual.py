"""Residual vector quantization by k-means."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.lloyd import assign, lloyd
from tasks.quantization.vq import Code, Tables, VectorCodec


class Residual(VectorCodec, name="vq-residual", label="Residual VQ", paper=105):
    """Residual vector quantization of paper 105, "High Fidelity Neural Audio Compression": each stage codes what the stages before left
    over. Codebooks are fitted one after the other by k-means."""

    stages: int = Field(2, ge=1, le=16)
    codes: int = Field(16, ge=1, le=4096, description="codewords per stage")
    iterations: int = Field(50, ge=1)

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        books, rest = [], x
        for _ in range(self.stages):
            book = lloyd(rest, self.codes, self.iterations, rng)
            rest = rest - book[assign(rest, book)]
            books.append(book)
        stacked = np.stack(books)
        return Code(lambda vectors: encode_residual(vectors, stacked), (self.codes,) * self.stages, {"books": stacked})

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        return decode_residual(tables["books"], indices)


def encode_residual(x: np.ndarray, books: np.ndarray) -> np.ndarray:
    """Indices [n, stages] of `x` [n, d] in codebooks [stages, codes, d], greedily stage by stage."""
    found, rest = [], x
    for book in books:
        index = assign(rest, book)
        found.append(index)
        rest = rest - book[index]
    return np.stack(found, 1)


def decode_residual(books: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The sum of the chosen codewords, [n, d]."""
    total = np.zeros((len(indices), books.shape[2]), dtype=np.float32)
    for book, index in zip(books, indices.T, strict=True):
        total += book[index]
    return total
