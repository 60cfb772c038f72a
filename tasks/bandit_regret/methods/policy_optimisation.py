"""Policy optimisation in adversarial MDPs: FTRL in every state, with the logarithmic barrier (paper 14) or with entropy."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.linear_mdp import EpisodicMethod, Process, learning_rate, occupancy


class LogBarrierPo(EpisodicMethod, name="log-barrier-po", label="log-barrier FTRL", paper=14, knowledge=("horizon", "dynamics")):
    """In each state p = argmin eta <p, sum (Q - B)> - sum ln p over past episodes, Q the importance-weighted loss-to-go.

    Paper 14, "Refined regret for adversarial MDPs with linear function approximation" (reconstructed from the abstract): the barrier's
    refined analysis tolerates arbitrarily negative loss estimates. `bonus` is the factor of the dilated bonus B(s,a) = b(s,a) +
    (1 + 1/H) E B(s',a'), b = bonus / (occupancy + gamma) + its mean over the state's policy; it pays off only where exploration is hard.
    """

    scale: float = Field(1.0, gt=0, le=1000, description="factor on the learning rate")
    gamma: float = Field(0.005, ge=0, le=1, description="added to the occupancy in the importance weights")
    bonus: float = Field(0.0, ge=0, le=10, description="factor of the dilated bonus")

    def learner(self) -> FtrlLearner:
        return FtrlLearner("barrier", self.scale, self.gamma, self.bonus)


class EntropyPo(EpisodicMethod, name="entropy-po", label="entropy FTRL", knowledge=("horizon", "dynamics")):
    """The same with p proportional to exp(-eta sum Q): the usual policy optimisation (Shani et al. 2020; Luo et al. 2021)."""

    scale: float = Field(1.0, gt=0, le=1000, description="factor on the learning rate")
    gamma: float = Field(0.005, ge=0, le=1, description="added to the occupancy in the importance weights")
    bonus: float = Field(0.0, ge=0, le=10, description="factor of the dilated bonus")

    def learner(self) -> FtrlLearner:
        return FtrlLearner("entropy", self.scale, self.gamma, self.bonus)


class UniformPo(EpisodicMethod, name="uniform-po", label="uniform policy"):
    """All actions equally likely in every state."""

    def learner(self) -> FtrlLearner:
        return FtrlLearner("uniform", 1.0, 1.0, 0.0)


class FtrlLearner:
    def __init__(self, kind: str, scale: float, gamma: float, bonus: float) -> None:
        self.kind, self.scale, self.gamma, self.bonus = kind, scale, gamma, bonus

    def reset(self, process: Process) -> None:
        from kernels.bandits.barrier import log_barrier_rows

        self._barrier, self.process = log_barrier_rows, process
        self.eta = learning_rate(self.kind, self.scale, process)
        self.losses: np.ndarray = np.zeros(process.transitions.shape[:3])
        self.p: np.ndarray = np.empty_like(self.losses)

    def policy(self) -> np.ndarray:
        if self.kind == "barrier":
            actions = self.losses.shape[2]
            self._barrier(self.losses.reshape(-1, actions), self.eta, self.p.reshape(-1, actions))
        elif self.kind == "entropy":
            weights = np.exp(-self.eta * (self.losses - self.losses.min(axis=-1, keepdims=True)))
            self.p = weights / weights.sum(axis=-1, keepdims=True)
        else:
            self.p[:] = 1 / self.p.shape[2]
        return self.p

    def update(self, states: np.ndarray, actions: np.ndarray, losses: np.ndarray) -> None:
        weight = occupancy(self.process.transitions, self.p) + self.gamma
        togo, layers = np.cumsum(losses[::-1])[::-1], np.arange(len(losses))
        self.losses[layers, states, actions] += togo / weight[layers, states, actions]
        if self.bonus:
            self.losses -= self._dilated(weight)

    def _dilated(self, weight: np.ndarray) -> np.ndarray:
        direct = self.bonus * (1 / weight + (self.p / weight).sum(axis=-1, keepdims=True))
        total, future = np.empty_like(direct), np.zeros(direct.shape[1])
        for h in range(len(direct) - 1, -1, -1):
            total[h] = direct[h] + (1 + 1 / len(direct)) * self.process.transitions[h] @ future
            future = (self.p[h] * total[h]).sum(axis=-1)
        return total
