"""Reference algebra for readable policies: plain NumPy, solved afresh every round."""

from __future__ import annotations

import numpy as np

#: Scores closer than this count as equal and the lowest index wins; the compiled kernels use the same number.
TIE = 1e-9


def first_argmax(scores: np.ndarray) -> int:
    """Lowest index whose score lies within TIE of the maximum."""
    return int(np.flatnonzero(scores >= scores.max() - TIE)[0])


class Ridge:
    """Ridge regression on the rounds added so far: V = lam I + sum x x', theta = V^-1 sum r x."""

    def __init__(self, dimension: int, lam: float) -> None:
        self.gram = lam * np.eye(dimension)
        self.moments = np.zeros(dimension)
        self.lam = lam
        self.count = 0

    def add(self, x: np.ndarray, reward: float) -> None:
        self.gram += np.outer(x, x)
        self.moments += reward * x
        self.count += 1

    @property
    def theta(self) -> np.ndarray:
        """[dimension]."""
        return np.linalg.solve(self.gram, self.moments)

    def widths(self, contexts: np.ndarray) -> np.ndarray:
        """|x|_{V^-1} for each row of `contexts`, shape [arms]."""
        return np.sqrt(np.einsum("ij,ji->i", contexts, np.linalg.solve(self.gram, contexts.T)))

    def log_det_ratio(self) -> float:
        """ln det V - ln det(lam I)."""
        return float(np.linalg.slogdet(self.gram)[1] - self.gram.shape[0] * np.log(self.lam))
