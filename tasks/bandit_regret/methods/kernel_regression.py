"""Online kernel regression: all points, or a dictionary that grows only by points it can't already express (paper 145)."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from tasks.bandit_regret.online_regression import OnlineMethod, Stream


class KernelOgd(OnlineMethod, name="kernel-ogd", label="kernel OGD", knowledge=("horizon",)):
    """Gradient descent in the space of a Gaussian kernel: every round adds an atom with coefficient -eta (f(x) - y), eta = scale / sqrt T.

    Kivinen, Smola, Williamson (2004), "Online learning with kernels", without truncation; O(t) per round and O(T) memory.
    """

    bandwidth: float = Field(0.25, gt=0, description="sigma of exp(-|x - z|^2 / (2 sigma^2))")
    scale: float = Field(10.0, gt=0, description="factor on the step")

    def learner(self) -> KernelOgdLearner:
        return KernelOgdLearner(self.bandwidth, self.scale)


class AogdAld(OnlineMethod, name="aogd-ald", label="AOGD-ALD", paper=145, knowledge=("horizon",)):
    """Adaptive gradient descent on a dictionary chosen by approximate linear dependence (ALD).

    Paper 145, online kernel regression with AOGD-ALD and NONS-ALD. A point enters the dictionary if its distance in feature space from the
    dictionary's span exceeds 5 / sqrt(n); the step is U / sqrt(1 + sum of squared gradients), and the function is kept in the ball of
    radius U. Time per round depends on the dictionary, not on the round.
    """

    bandwidth: float = Field(0.25, gt=0, description="sigma of exp(-|x - z|^2 / (2 sigma^2))")
    radius: float = Field(2.0, gt=0, description="U, bound on the norm in feature space")

    def learner(self) -> AogdAldLearner:
        return AogdAldLearner(self.bandwidth, self.radius)


class NonsAld(OnlineMethod, name="nons-ald", label="NONS-ALD", paper=145, knowledge=("horizon",)):
    """Online Newton step on the whitened features of the same dictionary, with predictions kept in [-C, C].

    Paper 145. Features are D^{-1/2} U' k(x) from the eigendecomposition of the dictionary's Gram matrix; when it grows, weights and Hessian
    are rotated into the new features.
    """

    bandwidth: float = Field(0.25, gt=0, description="sigma of exp(-|x - z|^2 / (2 sigma^2))")
    clip: float = Field(1.5, gt=0, description="C, bound on predictions")
    mu: float = Field(1.0, gt=0, description="initial Hessian mu I")

    def learner(self) -> NonsAldLearner:
        return NonsAldLearner(self.bandwidth, self.clip, self.mu)


class Points:
    """Points in rows of a buffer that doubles."""

    def __init__(self, dimension: int, bandwidth: float) -> None:
        self._rows, self.count, self._gamma = np.empty((16, dimension)), 0, 0.5 / bandwidth**2

    def add(self, x: np.ndarray) -> None:
        if self.count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self.count] = x
        self.count += 1

    def put(self, place: int, x: np.ndarray) -> None:
        """Replace the point at `place`, or append it there."""
        if place == self.count:
            self.add(x)
        else:
            self._rows[place] = x

    def kernel(self, x: np.ndarray) -> np.ndarray:
        """k(x, point) for each point."""
        return np.exp(-self._gamma * np.sum((self._rows[: self.count] - x) ** 2, axis=1))


class Dictionary:
    """Atoms chosen by approximate linear dependence, with the inverse of their Gram matrix."""

    def __init__(self, dimension: int, bandwidth: float, threshold: float) -> None:
        self.points, self.threshold, self.inverse = Points(dimension, bandwidth), threshold, np.empty((0, 0))

    def offer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """Kernel values against the atoms before x, coefficients of x's projection on them, and whether x became an atom."""
        k = self.points.kernel(x)
        b = self.inverse @ k
        residual = max(1.0 - float(k @ b), 0.0)
        if math.sqrt(residual) <= self.threshold:
            return k, b, False
        n = len(k)
        grown = np.empty((n + 1, n + 1))
        grown[:n, :n] = self.inverse + np.outer(b, b) / residual
        grown[:n, n] = grown[n, :n] = -b / residual
        grown[n, n] = 1 / residual
        self.inverse = grown
        self.points.add(x)
        return k, b, True


class KernelOgdLearner:
    def __init__(self, bandwidth: float, scale: float) -> None:
        self.bandwidth, self.scale = bandwidth, scale

    def reset(self, stream: Stream) -> None:
        self.points, self.weights = Points(stream.dimension, self.bandwidth), np.empty(16)
        self.eta = self.scale / math.sqrt(stream.facts["horizon"])

    @property
    def atoms(self) -> int:
        return self.points.count

    def predict(self, x: np.ndarray) -> float:
        return float(self.weights[: self.atoms] @ self.points.kernel(x)) if self.atoms else 0.0

    def update(self, x: np.ndarray, y: float) -> None:
        error = self.predict(x) - y
        if self.atoms == len(self.weights):
            self.weights = np.concatenate([self.weights, np.empty_like(self.weights)])
        self.weights[self.atoms] = -self.eta * error
        self.points.add(x)


class AogdAldLearner:
    def __init__(self, bandwidth: float, radius: float) -> None:
        self.bandwidth, self.radius = bandwidth, radius

    def reset(self, stream: Stream) -> None:
        self.dictionary = Dictionary(stream.dimension, self.bandwidth, 5 / math.sqrt(stream.facts["horizon"]))
        self.weights, self.energy, self.squared_norm = np.empty(0), 1.0, 0.0

    @property
    def atoms(self) -> int:
        return len(self.weights)

    def predict(self, x: np.ndarray) -> float:
        return float(self.weights @ self.dictionary.points.kernel(x)) if self.atoms else 0.0

    def update(self, x: np.ndarray, y: float) -> None:
        k, b, new = self.dictionary.offer(x)
        value = float(self.weights @ k)
        error = value - y
        size = 1.0 if new else float(b @ k)  # squared norm of the direction: a new atom, or the projection on the old ones
        self.energy += 4 * error**2 * size
        step = -2 * self.radius / math.sqrt(self.energy) * error
        if new:
            self.weights = np.append(self.weights, step)
        else:
            self.weights = self.weights + step * b
        self.squared_norm += 2 * step * value + step**2 * size
        if self.squared_norm > self.radius**2:
            shrink = self.radius / math.sqrt(self.squared_norm)
            self.weights, self.squared_norm = self.weights * shrink, self.radius**2


class NonsAldLearner:
    def __init__(self, bandwidth: float, clip: float, mu: float) -> None:
        self.bandwidth, self.clip, self.mu = bandwidth, clip, mu

    def reset(self, stream: Stream) -> None:
        self.dictionary = Dictionary(stream.dimension, self.bandwidth, 5 / math.sqrt(stream.facts["horizon"]))
        self.gram: np.ndarray = np.empty((0, 0))
        self.root: np.ndarray = np.empty((0, 0))
        self.w: np.ndarray = np.empty(0)
        self.hessian: np.ndarray = np.empty((0, 0))
        self.inverse: np.ndarray = np.empty((0, 0))
        self.eta = 1 / (4 * self.clip**2 + 4)

    @property
    def atoms(self) -> int:
        return len(self.w)

    def _features(self, x: np.ndarray) -> np.ndarray:
        return self.root.T @ self.dictionary.points.kernel(x)

    def _projected(self, features: np.ndarray) -> tuple[np.ndarray, float]:
        """The weights nearest in the Hessian's norm with |prediction| <= C, and that prediction."""
        value = float(self.w @ features)
        excess = abs(value) - self.clip
        if excess <= 0:
            return self.w, value
        direction = self.inverse @ features
        return self.w - math.copysign(excess, value) / float(features @ direction) * direction, math.copysign(self.clip, value)

    def predict(self, x: np.ndarray) -> float:
        return self._projected(self._features(x))[1] if self.atoms else 0.0

    def update(self, x: np.ndarray, y: float) -> None:
        k, _, new = self.dictionary.offer(x)
        if new:
            self._grow(k)
        features = self._features(x)
        self.w, value = self._projected(features)
        g = 2 * (value - y) * features
        self.hessian = self.hessian + self.eta * np.outer(g, g)
        u = self.inverse @ g
        self.inverse = self.inverse - np.outer(u, u) * (self.eta / (1 + self.eta * float(g @ u)))
        self.w = self.w - self.inverse @ g

    def _grow(self, k: np.ndarray) -> None:
        """Express weights and Hessian in the features of the dictionary that has just grown by an atom with kernel values k."""
        n = len(k)
        gram = np.block([[self.gram, k[:, None]], [k[None, :], np.ones((1, 1))]])
        values, vectors = np.linalg.eigh(gram)
        root = vectors / np.sqrt(np.maximum(values, 1e-12))
        rotation = root.T @ gram[:, :n] @ self.root  # old features as seen from the new ones
        self.w = rotation @ self.w
        self.hessian = rotation @ (self.hessian - self.mu * np.eye(n)) @ rotation.T + self.mu * np.eye(n + 1)
        self.inverse, self.gram, self.root = np.linalg.inv(self.hessian), gram, root
