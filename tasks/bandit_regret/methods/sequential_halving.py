"""Sequential halving."""

from __future__ import annotations

import numpy as np

from tasks.bandit_regret.best_arm import rounds_of_halving
from tasks.bandit_regret.protocol import ActionMethod, BeamMethod, Draws, Problem
from tasks.bandit_regret.scripted import Plan, ScriptedPolicy, pull


class SequentialHalving(BeamMethod, ActionMethod, name="sequential-halving", label="sequential halving"):
    """ceil(log2 K) rounds; each spends an equal share of the budget evenly on the surviving arms and keeps the better half.

    Karnin, Koren, Somekh (2013), "Almost optimal exploration in multi-armed bandits". With fewer than K log2 K plays it can't afford one
    play per arm and runs on a random subset that it can afford.
    """

    def policy(self) -> HalvingPolicy:
        return HalvingPolicy()


class HalvingPolicy(ScriptedPolicy):
    def plan(self, problem: Problem, draws: Draws, coordinates: np.ndarray) -> Plan:
        budget, arms = int(problem.facts["horizon"]), problem.arms
        order = draws.generator().permutation(arms)
        while arms > 1 and budget // (arms * rounds_of_halving(arms)) < 1:
            arms -= 1
        alive, rounds = [int(arm) for arm in order[:arms]], rounds_of_halving(arms)
        for _ in range(rounds):
            times, means = budget // (len(alive) * rounds), np.empty(len(alive))
            for i, arm in enumerate(alive):
                means[i] = yield from pull(arm, times)
            best = np.argsort(-means, kind="stable")[: (len(alive) + 1) // 2]
            alive = [alive[i] for i in best]
        return alive[0]
