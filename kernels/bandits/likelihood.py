"""Maximum likelihood in generalized linear models, and the bandits that play on it, compiled.

The loss of a row is b(x'theta) - y x'theta with b' = mu: (x'theta)^2 / 2, log(1 + exp(x'theta)) or exp(x'theta).
"""

from __future__ import annotations

import numpy as np

from kernels.bandits.linalg import cholesky, solve_lower, solve_lower_transposed
from kernels.bandits.links import curvature_of, mean_of, potential_of
from kernels.compiling import kernel

#: Newton stops at a gradient this small (in units of the rows), far below what can change a decision.
GRADIENT = 1e-9


@kernel
def objective(rows, targets, count, link, lam, theta):
    """(lam / 2) |theta|^2 + the loss of the first `count` rows."""
    total = 0.0
    for j in range(theta.size):
        total += 0.5 * lam * theta[j] * theta[j]
    for i in range(count):
        score = 0.0
        for j in range(theta.size):
            score += rows[i, j] * theta[j]
        total += potential_of(link, score) - targets[i] * score
    return total


@kernel
def maximise_likelihood(rows, targets, count, link, lam, theta):
    """Move theta in place to the minimiser of `objective`: Newton from where it stands, halving steps that do not descend."""
    d = theta.size
    gradient, hessian, lower, step, trial = np.empty(d), np.empty((d, d)), np.zeros((d, d)), np.empty(d), np.empty(d)
    value = objective(rows, targets, count, link, lam, theta)
    for _ in range(100):
        for j in range(d):
            gradient[j] = lam * theta[j]
            for k in range(d):
                hessian[j, k] = lam if j == k else 0.0
        for i in range(count):
            score = 0.0
            for j in range(d):
                score += rows[i, j] * theta[j]
            slope, curvature = mean_of(link, score) - targets[i], curvature_of(link, score)
            for j in range(d):
                gradient[j] += slope * rows[i, j]
                scaled = curvature * rows[i, j]
                for k in range(j + 1):
                    hessian[j, k] += scaled * rows[i, k]
        size = 0.0
        for j in range(d):
            size = max(size, abs(gradient[j]))
            step[j] = gradient[j]
        if size <= GRADIENT:
            return
        cholesky(hessian, lower)
        solve_lower(lower, step)
        solve_lower_transposed(lower, step)
        length = 1.0
        while length > 1e-12:
            for j in range(d):
                trial[j] = theta[j] - length * step[j]
            fresh = objective(rows, targets, count, link, lam, trial)
            if fresh <= value + 1e-12 * abs(value):
                break
            length *= 0.5
        if not length > 1e-12:
            return
        for j in range(d):
            theta[j] = trial[j]
        value = fresh


@kernel
def refit_due(count, last):
    """Whether the estimate is solved afresh after `count` rows, when it was after `last`: in every round up to 50, then each 2 % growth."""
    return count <= 50 or count >= last + last // 50
