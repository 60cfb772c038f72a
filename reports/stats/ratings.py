"""Bradley-Terry strengths from pairwise wins over tasks, on the Elo scale."""

from __future__ import annotations

import numpy as np

from reports.stats.distributions import Floats

#: Elo's scale: 400 points are odds of ten to one.
ELO_PER_NATURAL = 400 / np.log(10)


def wins(values: Floats, lower_is_better: bool = True, weights: Floats | None = None) -> Floats:
    """Weighted wins of row over column method from a (tasks, methods) matrix; ties count half, tasks where either is NaN not at all."""
    values = np.asarray(values, dtype=np.float64) * (1.0 if lower_is_better else -1.0)
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    a, b = values[:, :, None], values[:, None, :]
    with np.errstate(invalid="ignore"):
        score = (a < b) + 0.5 * (a == b)
    score[np.isnan(a - b)] = 0.0
    table: Floats = np.einsum("t,tij->ij", weight, score)
    np.fill_diagonal(table, 0.0)
    return table


def bradley_terry(table: Floats, *, prior: float = 0.1, steps: int = 100, tolerance: float = 1e-10) -> Floats:
    """Log strengths (mean zero) that maximise the Bradley-Terry likelihood, by Newton's method with bounded steps.

    `prior` adds that many wins and losses of everyone against everyone, so that a method without a loss has a finite strength.
    """
    k = len(table)
    padded = table + prior * (1 - np.eye(k))
    games, won = padded + padded.T, padded.sum(axis=1)
    strength = np.zeros(k)
    for _ in range(steps):
        chance = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
        weight = games * chance * chance.T
        curvature = np.diag(weight.sum(axis=1)) - weight
        step = np.linalg.solve(curvature + 1 / k, won - (games * chance).sum(axis=1))  # the constant fixes the free mean at zero
        strength += step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < tolerance:
            break
    return np.asarray(strength - strength.mean(), dtype=np.float64)


def elo(values: Floats, lower_is_better: bool = True, weights: Floats | None = None, centre: float = 1000.0, prior: float = 0.1) -> Floats:
    """Ratings of the methods of a (tasks, methods) matrix; only differences mean anything: 400 points are odds of ten to one."""
    return np.asarray(centre + ELO_PER_NATURAL * bradley_terry(wins(values, lower_is_better, weights), prior=prior), dtype=np.float64)
