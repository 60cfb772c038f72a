"""Maximum likelihood in plain NumPy, for readable policies and learners."""

from __future__ import annotations

import numpy as np

from tasks.bandit_regret.estimates import first_argmax
from tasks.bandit_regret.newton import mu
from tasks.bandit_regret.protocol import Draws, Problem


def refit_due(count: int, last: int) -> bool:
    """Whether the estimate is solved afresh after `count` rows, when it was after `last`: in every round up to 50, then each 2 % growth."""
    return count <= 50 or count >= last + last // 50


def _potential(link: str, scores: np.ndarray) -> np.ndarray:
    if link == "logistic":
        return np.logaddexp(0, scores)
    return np.exp(np.minimum(scores, 500)) if link == "poisson" else scores**2 / 2


def maximise_likelihood(rows: np.ndarray, targets: np.ndarray, link: str, lam: float, start: np.ndarray) -> np.ndarray:
    """The minimiser [d] of (lam / 2) |theta|^2 + sum b(x'theta) - y x'theta over rows [n, d], b' = mu, by Newton with halved steps."""
    theta, eye = start.copy(), np.eye(len(start))

    def objective(point: np.ndarray) -> float:
        return lam / 2 * float(point @ point) + float(np.sum(_potential(link, rows @ point) - targets * (rows @ point)))

    for _ in range(100):
        means = np.array([mu(link, score) for score in rows @ theta])
        gradient = lam * theta + rows.T @ (means - targets)
        if np.abs(gradient).max() <= 1e-9:
            break
        slopes = {"identity": np.ones_like(means), "logistic": means * (1 - means), "poisson": means}[link]
        step, length, value = np.linalg.solve(lam * eye + (rows.T * slopes) @ rows, gradient), 1.0, objective(theta)
        while length > 1e-12 and not objective(theta - length * step) <= value + 1e-12 * abs(value):
            length /= 2
        if length <= 1e-12:
            break
        theta = theta - length * step
    return theta


class LikelihoodPolicy:
    """Uniform arms for `explore` rounds, then the largest x'theta (or mu(x'theta)) + c |x|_{V^-1}, theta the regularised estimate."""

    def __init__(self, lam: float, c: float, explore: int, on_mean: bool) -> None:
        self.lam, self.c, self.explore, self.on_mean = lam, c, explore, on_mean

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.problem, self.draws, self.last = problem, draws, 0
        self.rows: list[np.ndarray] = []
        self.targets: list[float] = []
        self.gram, self.theta = self.lam * np.eye(problem.dimension), np.zeros(problem.dimension)

    @property
    def used(self) -> int:
        return len(self.rows)

    def act(self, contexts: np.ndarray) -> int:
        t = len(self.rows) + 1
        if t <= self.explore:
            return int(self.draws.uniform(t) * self.problem.arms)
        if refit_due(t - 1, self.last) and self.rows:
            self.theta = maximise_likelihood(np.array(self.rows), np.array(self.targets), self.problem.link, self.lam, self.theta)
            self.last = t - 1
        centres = contexts @ self.theta
        if self.on_mean:
            centres = np.array([mu(self.problem.link, score) for score in centres])
        widths = np.sqrt(np.einsum("ij,ji->i", contexts, np.linalg.solve(self.gram, contexts.T)))
        return first_argmax(centres + self.c * widths)

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self.rows.append(contexts[arm].copy())
        self.targets.append(reward)
        self.gram += np.outer(contexts[arm], contexts[arm])
