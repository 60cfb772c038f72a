"""Uniform allocation: the floor of identification."""

from __future__ import annotations

import numpy as np

from tasks.bandit_regret.protocol import ActionMethod, BeamMethod, Draws, Problem
from tasks.bandit_regret.scripted import Plan, ScriptedPolicy


class UniformAllocation(BeamMethod, ActionMethod, name="uniform-allocation", label="uniform allocation"):
    """Plays the arms in turn, in random order, and recommends the largest mean among those played."""

    def policy(self) -> UniformAllocationPolicy:
        return UniformAllocationPolicy()


class UniformAllocationPolicy(ScriptedPolicy):
    def plan(self, problem: Problem, draws: Draws, coordinates: np.ndarray) -> Plan:
        order, sums, counts = draws.generator().permutation(problem.arms), np.zeros(problem.arms), np.zeros(problem.arms)
        for t in range(int(problem.facts["horizon"])):
            arm = int(order[t % problem.arms])
            sums[arm] += yield arm
            counts[arm] += 1
        return int(np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf).argmax())
