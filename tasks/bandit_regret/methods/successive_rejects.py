"""Successive rejects."""

from __future__ import annotations

import math

import numpy as np

from tasks.bandit_regret.protocol import ActionMethod, BeamMethod, Draws, Problem
from tasks.bandit_regret.scripted import Plan, ScriptedPolicy, pull


class SuccessiveRejects(BeamMethod, ActionMethod, name="successive-rejects", label="successive rejects"):
    """K - 1 phases; phase k brings every surviving arm to n_k = ceil((n - K) / (logbar K (K + 1 - k))) plays and drops the worst.

    Audibert, Bubeck, Munos (2010), "Best arm identification in multi-armed bandits"; logbar K = 1/2 + sum_{i=2}^K 1/i. With n < 2 K it
    runs on a random subset of n / 2 arms.
    """

    def policy(self) -> RejectsPolicy:
        return RejectsPolicy()


class RejectsPolicy(ScriptedPolicy):
    def plan(self, problem: Problem, draws: Draws, coordinates: np.ndarray) -> Plan:
        budget = int(problem.facts["horizon"])
        arms = max(2, min(problem.arms, budget // 2))
        alive = [int(arm) for arm in draws.generator().permutation(problem.arms)[:arms]]
        logbar = 0.5 + sum(1 / i for i in range(2, arms + 1))
        sums, count = dict.fromkeys(alive, 0.0), 0
        for phase in range(1, arms):
            target = math.ceil((budget - arms) / (logbar * (arms + 1 - phase)))
            for arm in alive:
                if target > count:
                    sums[arm] += (target - count) * (yield from pull(arm, target - count))
            count = target
            worst = min(alive, key=lambda arm: sums[arm])
            alive = [arm for arm in alive if arm != worst]
        return alive[0]
