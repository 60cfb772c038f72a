"""The optimal softmax temperature: a convex problem in one variable, solved to its optimum."""

from __future__ import annotations

import numpy as np

from kernels.mlp import softmax


def optimal_temperature(
    logits: np.ndarray, labels: np.ndarray, low: float = 0.05, high: float = 100.0, tolerance: float = 1e-12, iterations: int = 200
) -> float:
    """The T in [low, high] that minimises the mean negative log-likelihood of softmax(logits / T).

    logits [n, classes], integer labels [n]. The objective is convex in b = 1/T, with slope E[mean of z under p] - mean z_y and curvature
    E[variance of z under p]; Newton steps that leave the current bracket are replaced by bisection. Where the labels are separable the
    optimum is T -> 0 (or, where the logits say nothing, T -> infinity): then the nearer bound is returned.
    """
    logits = np.asarray(logits, dtype=np.float64)
    target = logits[np.arange(len(labels)), labels].mean()

    def derivatives(inverse: float) -> tuple[float, float]:
        probabilities = softmax(logits * inverse)
        mean = (probabilities * logits).sum(axis=1)
        variance = (probabilities * (logits - mean[:, None]) ** 2).sum(axis=1)
        return float(mean.mean() - target), float(variance.mean())

    left, right = 1 / high, 1 / low
    if derivatives(left)[0] >= 0:
        return high
    if derivatives(right)[0] <= 0:
        return low
    inverse = min(max(1.0, left), right)
    for _ in range(iterations):
        slope, curvature = derivatives(inverse)
        if slope == 0:
            break
        left, right = (inverse, right) if slope < 0 else (left, inverse)
        step = inverse - slope / curvature if curvature > 0 else left
        following = step if left < step < right else (left + right) / 2
        if abs(following - inverse) <= tolerance * inverse:
            return 1 / following
        inverse = following
    return 1 / inverse
