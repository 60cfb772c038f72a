"""Lloyd's algorithm on vectors (k-means), shared by the vector quantizers."""

from __future__ import annotations

import numpy as np


def assign(x: np.ndarray, book: np.ndarray) -> np.ndarray:
    """Index [n] int64 of the nearest row of `book` [k, d] for each row of `x` [n, d]; ties go to the lower index."""
    norms = np.square(book).sum(1) / 2
    step = max(1, (1 << 22) // len(book))
    return np.concatenate([(norms - x[i : i + step] @ book.T).argmin(1) for i in range(0, len(x), step)] or [np.zeros(0, np.int64)])


def lloyd(x: np.ndarray, size: int, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """A codebook [size, d] float32 for `x` [n, d]: starts from random rows; a codeword that no row takes moves to a random row."""
    book = x[rng.permutation(len(x))[:size]].astype(np.float32)
    if len(book) < size:  # fewer rows than codewords: the rest stay as copies
        book = book[np.arange(size) % len(book)]
    for _ in range(iterations):
        index = assign(x, book)
        counts = np.bincount(index, minlength=size)
        sums = np.stack([np.bincount(index, column, minlength=size) for column in x.T.astype(np.float64)], 1)
        moved = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        empty = counts == 0
        moved[empty] = x[rng.integers(len(x), size=int(empty.sum()))]
        if np.array_equal(moved, book):
            break
        book = moved
    return book
