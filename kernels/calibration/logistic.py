"""Binary logistic regression by Newton's method, for a handful of features."""

from __future__ import annotations

import numpy as np

#: Ridge on the slopes: keeps separable data from running away, and is far below what 400 rows can resolve.
RIDGE = 1e-6


def fit_logistic(features: np.ndarray, targets: np.ndarray, iterations: int = 100) -> np.ndarray:
    """Slopes [d], then the intercept: the maximiser of the mean Bernoulli log-likelihood of targets [n] in [0, 1] given features [n, d].

    Newton steps, halved until the likelihood rises; ends when the gradient is below 1e-10.
    """
    design = np.column_stack([features, np.ones(len(targets))])
    ridge = np.append(np.full(features.shape[1], RIDGE), 0.0)

    def loss(parameters: np.ndarray) -> float:
        scores = design @ parameters
        return float((np.logaddexp(0, scores) - targets * scores).mean() + 0.5 * ridge @ parameters**2)

    parameters = np.zeros(design.shape[1])
    parameters[-1] = np.log((targets.sum() + 0.5) / (len(targets) - targets.sum() + 0.5))
    for _ in range(iterations):
        scores = design @ parameters
        probabilities = 1 / (1 + np.exp(-np.clip(scores, -500, 500)))
        gradient = design.T @ (probabilities - targets) / len(targets) + ridge * parameters
        if np.abs(gradient).max() < 1e-10:
            break
        curvature = (design * (probabilities * (1 - probabilities))[:, None]).T @ design / len(targets) + np.diag(ridge + 1e-12)
        step = np.linalg.solve(curvature, gradient)
        size, start = 1.0, loss(parameters)
        while loss(parameters - size * step) > start and size > 1e-8:
            size /= 2
        parameters = parameters - size * step
    return parameters
