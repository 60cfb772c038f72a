"""Optimism by elimination over sparse hypotheses."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tasks.bandit_regret.protocol import ActionMethod, Draws, Problem
from tasks.bandit_regret.scripted import Plan, ScriptedPolicy, pull


class SparseElimination(
    ActionMethod, name="sparse-elimination", label="sparse elimination", paper=97, knowledge=("misspecification", "sparsity")
):
    """Hypotheses are supports of size s with coefficients from a net of the unit ball. Query the best action of the most promising
    hypothesis; accept it if the reward is within 2 eps of the prediction, else drop every hypothesis that is off by more there.

    Paper 97, "Does Sparsity Help in Learning Misspecified Linear Bandits?" (reconstructed from the abstract): the answer is within 4 eps of
    the best, after at most as many queries as there are hypotheses, exponential in s and polynomial in d.
    """

    def policy(self) -> EliminationPolicy:
        return EliminationPolicy()


class LeastSquaresSearch(ActionMethod, name="least-squares-search", label="least squares"):
    """Queries random actions and recommends the largest prediction of a dense minimum-norm least-squares fit: what ignores sparsity."""

    def policy(self) -> LeastSquaresPolicy:
        return LeastSquaresPolicy()


class EliminationPolicy(ScriptedPolicy):
    used = 0

    def plan(self, problem: Problem, draws: Draws, coordinates: np.ndarray) -> Plan:
        eps, sparsity = problem.facts["misspecification"], int(problem.facts["sparsity"])
        net = ball_net(sparsity, eps)
        supports = list(itertools.combinations(range(coordinates.shape[1]), sparsity))
        value, best = np.empty((len(supports), len(net))), np.empty((len(supports), len(net)), int)
        for m, support in enumerate(supports):
            predicted = net @ coordinates[:, support].T
            best[m] = predicted.argmax(axis=1)
            value[m] = predicted[np.arange(len(net)), best[m]]
        while True:
            m, v = divmod(int(value.argmax()), value.shape[1])
            arm, promised = int(best[m, v]), float(value[m, v])
            self.choice = arm
            reward = yield from pull(arm, 1)
            self.used += 1
            if promised == -math.inf or abs(reward - promised) <= 2 * eps:
                return arm
            for other, support in enumerate(supports):
                value[other, np.abs(net @ coordinates[arm, support] - reward) > 2 * eps] = -math.inf


class LeastSquaresPolicy(ScriptedPolicy):
    def plan(self, problem: Problem, draws: Draws, coordinates: np.ndarray) -> Plan:
        count = int(problem.facts["horizon"])
        chosen = draws.generator().choice(problem.arms, min(count, problem.arms), replace=False)
        rewards = np.empty(len(chosen))
        for i, arm in enumerate(chosen):
            rewards[i] = yield int(arm)
        return int((coordinates @ np.linalg.lstsq(coordinates[chosen], rewards, rcond=None)[0]).argmax())


def ball_net(sparsity: int, eps: float) -> np.ndarray:
    """Points [n, sparsity] such that every point of the unit ball is within eps of one (a cubic grid with cells of side 2 eps / sqrt s)."""
    reach = math.ceil(math.sqrt(sparsity) / (2 * eps))
    axis = np.arange(-reach, reach + 1) * (2 * eps / math.sqrt(sparsity))
    grid = np.stack(np.meshgrid(*[axis] * sparsity, indexing="ij"), axis=-1).reshape(-1, sparsity)
    return grid[np.linalg.norm(grid, axis=1) <= 1 + eps]
