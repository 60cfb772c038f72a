"""Epsilon-greedy with one linear model per arm."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tasks.bandit_regret.methods.disjoint_linucb import DisjointPolicy
from tasks.bandit_regret.protocol import ClassifierMethod, Compiled, Problem


class DisjointGreedy(ClassifierMethod, name="disjoint-greedy", label="epsilon-greedy (disjoint)"):
    """Plays the arm with the largest ridge prediction, with probability epsilon a uniform one. Sutton and Barto (1998), in linear form."""

    epsilon: float = Field(0.02, ge=0, le=1, description="share of uniform rounds")
    lam: float = Field(1.0, gt=0, description="ridge parameter")

    @classmethod
    def theory(cls, problem: Problem) -> dict[str, Any] | str:
        return "no rate of exploration is given for it"

    def policy(self) -> DisjointPolicy:
        return DisjointPolicy(self.lam, 0.0, self.epsilon)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("disjoint", (self.lam, 0.0, self.epsilon))
