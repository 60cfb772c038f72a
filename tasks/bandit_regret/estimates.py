"""Estimates for readable policies in plain NumPy: ridge regression solved afresh every round, means per arm."""

from __future__ import annotations

import numpy as np

from tasks.bandit_regret.protocol import Draws, Problem

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


class Means:
    """Mean reward of each arm; infinite for an arm never played."""

    def __init__(self, arms: int) -> None:
        self.counts = np.zeros(arms)
        self.sums = np.zeros(arms)

    def add(self, arm: int, reward: float) -> None:
        self.counts[arm] += 1
        self.sums[arm] += reward

    @property
    def rounds(self) -> int:
        return int(self.counts.sum())

    @property
    def values(self) -> np.ndarray:
        return np.where(self.counts > 0, self.sums / np.maximum(self.counts, 1), np.inf)


class MeansPolicy:
    """A policy that plays each arm once and then the largest `scores(t)`; sub-classes say what that is."""

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.facts, self.draws, self.arms = problem.facts, draws, problem.arms
        self.means = Means(problem.arms)

    @property
    def used(self) -> int:
        return self.means.rounds

    def act(self, contexts: np.ndarray) -> int:
        t = self.means.rounds + 1
        return t - 1 if t <= self.arms else first_argmax(self.scores(t))

    def scores(self, t: int) -> np.ndarray:
        """The index of each arm in round t, shape [arms]."""
        raise NotImplementedError

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.means.add(arm, reward)
