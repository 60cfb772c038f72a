"""Successive over-relaxation on the shifted 5-point Laplacian, compiled: how many sweeps a relaxation parameter needs."""

from __future__ import annotations

import math

import numpy as np

from kernels.compiling import kernel


@kernel
def sweeps(m, shift, rhs, omega, tolerance, cap):
    """Iterations of SOR from x = 0 until |b - A x| < tolerance |b|, at most `cap`.

    A is the 5-point Laplacian on an m x m interior grid plus shift I; natural ordering; the residual is tested after each sweep.
    """
    n = m + 2
    x, b = np.zeros((n, n)), np.zeros((n, n))  # with the boundary's zeros
    norm = 0.0
    for i in range(m):
        for j in range(m):
            b[i + 1, j + 1] = rhs[i * m + j]
            norm += rhs[i * m + j] * rhs[i * m + j]
    limit = tolerance * tolerance * norm
    diagonal = 4.0 + shift
    factor = omega / diagonal
    for k in range(1, cap + 1):
        for i in range(1, m + 1):
            for j in range(1, m + 1):
                x[i, j] += factor * (b[i, j] + x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] - diagonal * x[i, j])
        total = 0.0
        for i in range(1, m + 1):
            for j in range(1, m + 1):
                r = b[i, j] + x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] - diagonal * x[i, j]
                total += r * r
        if not total < math.inf:
            return cap
        if total < limit:
            return k
    return cap


@kernel
def sweep_table(m, shifts, rhs, omegas, tolerance, cap, table):
    """table[t, k] = sweeps of instance t (shifts[t], rhs[t]) at omegas[k]."""
    for t in range(shifts.size):
        for k in range(omegas.size):
            table[t, k] = sweeps(m, shifts[t], rhs[t], omegas[k], tolerance, cap)


@kernel
def boxed_least_squares(gram, moments, bound, theta):
    """Minimise theta' gram theta / 2 - moments' theta over |theta_j| <= bound_j by coordinate descent from `theta`, in place."""
    n = theta.size
    for _ in range(2000):
        change = 0.0
        for j in range(n):
            if gram[j, j] <= 0.0:
                continue
            total = moments[j]
            for k in range(n):
                if k != j:
                    total -= gram[j, k] * theta[k]
            value = min(max(total / gram[j, j], -bound[j]), bound[j])
            change = max(change, abs(value - theta[j]))
            theta[j] = value
        if change < 1e-12:
            break


@kernel
def boxed_fits(grams, moments, scale, bound, thetas):
    """`boxed_least_squares` for every arm with targets divided by `scale`; thetas [arms, n] hold the start and receive the fits."""
    for i in range(thetas.shape[0]):
        boxed_least_squares(grams[i], moments[i] / scale, bound, thetas[i])
