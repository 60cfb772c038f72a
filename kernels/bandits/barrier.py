"""FTRL on the simplex with the logarithmic barrier, compiled."""

from __future__ import annotations

from kernels.compiling import kernel


@kernel
def log_barrier_rows(losses, eta, p):
    """For each row of losses [n, k]: p = argmin eta <p, L> - sum ln p on the simplex, that is p_i = 1 / (eta L_i - x), summing to 1.

    The sum rises in x and is convex left of eta min L; at eta min L - 1 it is at least 1, and Newton from there (from the right) converges.
    """
    n, k = losses.shape
    for row in range(n):
        least = losses[row, 0]
        for i in range(1, k):
            if losses[row, i] < least:
                least = losses[row, i]
        depth = 1.0  # eta min L - x
        for _ in range(100):
            total, slope = 0.0, 0.0
            for i in range(k):
                w = 1.0 / (eta * (losses[row, i] - least) + depth)
                p[row, i] = w
                total += w
                slope += w * w
            step = (total - 1.0) / slope
            if step <= 1e-14 * depth:
                break
            depth += step
