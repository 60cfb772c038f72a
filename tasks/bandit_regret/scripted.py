"""Identification policies written as a script: `plan` yields arms, receives rewards, and returns the recommendation."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from tasks.bandit_regret.protocol import Draws, Problem

#: Yields the arm to play, is sent its reward, returns the recommended arm.
Plan = Generator[int, float, int]


class ScriptedPolicy:
    """Runs `plan`; when it ends before the budget does, the recommended arm is played on and nothing more is learned."""

    def plan(self, problem: Problem, draws: Draws, coordinates: np.ndarray) -> Plan:
        """The policy; `coordinates` [arms, 2] are the arms' places on their grid."""
        raise NotImplementedError

    def reset(self, problem: Problem, draws: Draws) -> None:
        self.problem, self.draws, self.choice, self.next = problem, draws, 0, 0
        self.script: Plan | None = None

    def act(self, contexts: np.ndarray) -> int:
        if self.script is None:
            self.script = self.plan(self.problem, self.draws, contexts.copy())
            self._advance(None)
        return self.next

    def update(self, contexts: np.ndarray, arm: int, reward: float) -> None:
        self._advance(reward)

    def _advance(self, reward: float | None) -> None:
        assert self.script is not None
        try:
            self.next = int(next(self.script) if reward is None else self.script.send(reward))
        except StopIteration as stop:
            self.choice = self.next = stop.value if stop.value is not None else self.choice

    def recommend(self) -> int:
        return self.choice


def pull(arm: int, times: int) -> Generator[int, float, float]:
    """Play an arm `times` times; returns its mean reward."""
    total = 0.0
    for _ in range(times):
        total += yield int(arm)
    return total / max(times, 1)
