"""HoloBeam: fixed-budget identification that searches one parameter of the beam at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from tasks.bandit_regret.protocol import BeamMethod, Draws, Problem
from tasks.bandit_regret.scripted import Plan, ScriptedPolicy, pull


class HoloBeam(BeamMethod, name="holobeam", label="HoloBeam", paper=173):
    """Half of the budget searches the first coordinate with the second fixed in the middle, the other half the second coordinate.

    Paper 173, fixed-budget best-beam identification in holographic MIMO (reconstructed: the phases' exact lengths are not published in what
    we could read). The line search uses unimodality: each round plays four points of the interval (its ends and thirds) and drops the third
    that can't hold the maximum, until at most three points are left, which get the last round's share and are judged by all their plays.
    """

    def policy(self) -> HoloBeamPolicy:
        return HoloBeamPolicy()


class HoloBeamPolicy(ScriptedPolicy):
    def plan(self, problem: Problem, draws: Draws, coordinates: np.ndarray) -> Plan:
        budget, side = int(problem.facts["horizon"]), int(coordinates.max()) + 1
        middle = side // 2
        first = yield from _search(side, budget // 2, lambda i: i * side + middle)
        second = yield from _search(side, budget - budget // 2, lambda j: first * side + j)
        return first * side + second


def _search(points: int, budget: int, arm: Callable[[int], int]) -> Generator[int, float, int]:
    """Line search for the maximum of a unimodal function on 0..points-1; returns its place."""
    low, high, width, rounds = 0, points - 1, points - 1, 1
    while width > 2:
        width -= max(1, width // 3)
        rounds += 1
    share = budget // rounds
    sums, counts = np.zeros(points), np.zeros(points)
    while high - low > 2:
        third = max(1, (high - low) // 3)
        places = (low, low + third, high - third, high)
        for place in places:
            times = max(1, share // 4)
            sums[place] += times * (yield from pull(arm(place), times))
            counts[place] += times
        if np.argmax([sums[place] / counts[place] for place in places]) <= 1:
            high -= third
        else:
            low += third
    for place in range(low, high + 1):
        times = max(1, share // (high - low + 1))
        sums[place] += times * (yield from pull(arm(place), times))
        counts[place] += times
    return low + int(np.argmax(sums[low : high + 1] / counts[low : high + 1]))
