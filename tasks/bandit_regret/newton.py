"""The online-Newton policy in plain NumPy, shared by the methods for generalized linear bandits."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from tasks.bandit_regret.estimates import first_argmax
from tasks.bandit_regret.protocol import Draws, Problem

PROJECTIONS = {"none": 0, "euclidean": 1, "gram": 2}


def mu(link: str, score: float) -> float:
    """The mean at this score x'theta."""
    if link == "poisson":
        return math.exp(min(score, 500.0))
    return score if link == "identity" else 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


def project(gram: np.ndarray, theta: np.ndarray, norm: float, kind: str) -> np.ndarray:
    """The point of the ball |x| <= norm nearest to theta: `euclidean`, or in the norm of `gram` (KKT condition solved by bracketing)."""
    if kind == "none" or np.linalg.norm(theta) <= norm:
        return theta
    if kind == "euclidean":
        return theta * norm / np.linalg.norm(theta)
    target, eye = gram @ theta, np.eye(len(theta))

    def excess(nu: float) -> float:
        return float(np.linalg.norm(np.linalg.solve(gram + nu * eye, target))) - norm

    nu = brentq(excess, 0.0, float(np.linalg.norm(target)) / norm, xtol=1e-14, rtol=1e-14)
    return np.linalg.solve(gram + nu * eye, target)


class NewtonPolicy:
    """One Newton step per epoch of `plays` rounds of one arm, on the median of its rewards, dropped to 0 above the threshold."""

    def __init__(self, lam: float, c: float, plays: int, projection: str, threshold: float) -> None:
        self.lam, self.c, self.plays, self.projection, self.threshold = lam, c, plays, projection, threshold

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.problem, self.kappa, self.norm = problem, problem.facts["kappa"], problem.facts["norm_bound"]
        self.gram, self.theta = self.lam * np.eye(problem.dimension), np.zeros(problem.dimension)
        self.rewards: list[float] = []
        self.used = 0

    def act(self, contexts: np.ndarray) -> int:
        if not self.rewards:
            self.widths = np.sqrt(np.einsum("ij,ji->i", contexts, np.linalg.solve(self.gram, contexts.T)))
            self.arm = first_argmax(contexts @ self.theta + self.c * self.widths)
        return self.arm

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.rewards.append(reward)
        if len(self.rewards) < self.plays:
            return
        y, x = float(np.median(self.rewards)), contexts[arm]
        self.rewards = []
        if abs(y) * self.widths[arm] > self.threshold:
            y = 0.0
        else:
            self.used += self.plays
        gradient = mu(self.problem.link, float(x @ self.theta)) - y
        self.gram += 0.5 * self.kappa * np.outer(x, x)
        self.theta = project(self.gram, self.theta - gradient * np.linalg.solve(self.gram, x), self.norm, self.projection)
