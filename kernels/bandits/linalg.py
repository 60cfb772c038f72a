"""Rank-one algebra of ridge regression, in place, on small matrices.

Arm features are stored as columns, `features[d, arms]`: loops over arms are then innermost and contiguous, which the compiler vectorises
without changing the order of any sum.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.compiling import kernel

#: Scores closer than this count as equal and the lowest index wins. Unit-norm contexts tie exactly in round 1; without a tolerance the
#: rounding of one implementation would decide.
TIE = 1e-9

#: After this many Sherman-Morrison updates the inverse is recomputed from the Gram matrix, which bounds the drift.
REFRESH = 4096


@kernel
def argmax(scores):
    """Lowest index whose score lies within TIE of the maximum."""
    best = scores[0]
    for i in range(1, scores.size):
        if scores[i] > best:
            best = scores[i]
    for i in range(scores.size):
        if scores[i] >= best - TIE:
            return i
    return 0


@kernel
def cholesky(matrix, lower):
    """Write the lower Cholesky factor of a positive definite matrix into `lower` (zeros above the diagonal)."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = math.sqrt(total) if i == j else total / lower[j, j]
        for j in range(i + 1, n):
            lower[i, j] = 0.0


@kernel
def inverse(matrix, out):
    """Write the exactly symmetric inverse of a positive definite matrix into `out`."""
    n = matrix.shape[0]
    lower = np.empty((n, n))
    cholesky(matrix, lower)
    column = np.empty(n)
    for c in range(n):
        for i in range(n):
            total = 1.0 if i == c else 0.0
            for k in range(i):
                total -= lower[i, k] * column[k]
            column[i] = total / lower[i, i]
        for i in range(n - 1, -1, -1):
            total = column[i]
            for k in range(i + 1, n):
                total -= lower[k, i] * column[k]
            column[i] = total / lower[i, i]
        for i in range(c, n):
            out[i, c] = column[i]
            out[c, i] = column[i]


@kernel
def matvec(matrix, vector, out):
    """out = matrix @ vector for a symmetric matrix (columns are read as rows, so that the inner loop is contiguous)."""
    n = vector.size
    for i in range(n):
        out[i] = 0.0
    for j in range(n):
        for i in range(n):
            out[i] += matrix[j, i] * vector[j]


@kernel
def dots(features, vector, out):
    """out[arm] = features[:, arm] . vector."""
    d, arms = features.shape
    for i in range(arms):
        out[i] = 0.0
    for j in range(d):
        for i in range(arms):
            out[i] += features[j, i] * vector[j]


@kernel
def squared_widths(features, inverse_gram, out):
    """out[arm] = x' A x for each column x of `features` and a symmetric A."""
    d, arms = features.shape
    row = np.empty(arms)
    for i in range(arms):
        out[i] = 0.0
    for j in range(d):
        for i in range(arms):
            row[i] = 0.0
        for k in range(d):
            for i in range(arms):
                row[i] += inverse_gram[j, k] * features[k, i]
        for i in range(arms):
            out[i] += row[i] * features[j, i]


@kernel
def add_outer(matrix, vector, sign):
    """matrix += sign * vector vector' with sign = +-1, so that a symmetric matrix stays exactly symmetric."""
    n = vector.size
    for i in range(n):
        for j in range(n):
            matrix[i, j] += sign * vector[i] * vector[j]


@kernel
def cholesky_update(lower, vector):
    """Turn the Cholesky factor of A into that of A + vector vector' by Givens rotations; destroys `vector`."""
    n = vector.size
    for k in range(n):
        diagonal = lower[k, k]
        radius = math.sqrt(diagonal * diagonal + vector[k] * vector[k])
        c, s = radius / diagonal, vector[k] / diagonal
        lower[k, k] = radius
        for i in range(k + 1, n):
            lower[i, k] = (lower[i, k] + s * vector[i]) / c
            vector[i] = c * vector[i] - s * lower[i, k]


@kernel
def solve_lower(lower, vector):
    """vector = L^-1 vector."""
    for i in range(vector.size):
        total = vector[i]
        for k in range(i):
            total -= lower[i, k] * vector[k]
        vector[i] = total / lower[i, i]


@kernel
def solve_lower_transposed(lower, vector):
    """vector = L^-T vector."""
    n = vector.size
    for i in range(n - 1, -1, -1):
        total = vector[i]
        for k in range(i + 1, n):
            total -= lower[k, i] * vector[k]
        vector[i] = total / lower[i, i]
