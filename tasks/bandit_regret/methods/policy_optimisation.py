"""Policy optimisation in adversarial MDPs: FTRL in every state, with the logarithmic barrier, reduced estimates (paper 14) or entropy."""

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
    gamma: float = Field(0.005, gt=0, le=1, description="added to Sigma (one-hot features: to the occupancy)")
    bonus: float = Field(0.0, ge=0, le=10, description="factor of the dilated bonus")

    def learner(self) -> FtrlLearner:
        return FtrlLearner("barrier", self.scale, self.gamma, self.bonus)


class EntropyPo(EpisodicMethod, name="entropy-po", label="entropy FTRL", knowledge=("horizon", "dynamics")):
    """The same with p proportional to exp(-eta sum Q): the usual policy optimisation (Shani et al. 2020; Luo et al. 2021)."""

    scale: float = Field(1.0, gt=0, le=1000, description="factor on the learning rate")
    gamma: float = Field(0.005, gt=0, le=1, description="added to Sigma (one-hot features: to the occupancy)")
    bonus: float = Field(0.0, ge=0, le=10, description="factor of the dilated bonus")

    def learner(self) -> FtrlLearner:
        return FtrlLearner("entropy", self.scale, self.gamma, self.bonus)


class MagnitudeReducedPo(
    EpisodicMethod, name="magnitude-reduced-po", label="magnitude-reduced FTRL", paper=14, knowledge=("horizon", "dynamics")
):
    """Entropy FTRL on estimates whose negative part is small: where G = phi(s,a)' Sigma^-1 phi(s_h,a_h) is negative, H - L stands in for
    -L, and what that adds on average is taken off again. The mean stays, and no estimate lies below -H |phi(s,a)|_{Sigma^-1}.

    Paper 14, "Refined regret for adversarial MDPs with linear function approximation" (reconstructed from the abstract, Sigma exact). With
    one-hot features nothing is negative and this is entropy FTRL.
    """

    scale: float = Field(1.0, gt=0, le=1000, description="factor on the learning rate")
    gamma: float = Field(0.005, gt=0, le=1, description="added to Sigma (one-hot features: to the occupancy)")
    bonus: float = Field(0.0, ge=0, le=10, description="factor of the dilated bonus")

    def learner(self) -> FtrlLearner:
        return FtrlLearner("entropy", self.scale, self.gamma, self.bonus, reduced=True)


class UniformPo(EpisodicMethod, name="uniform-po", label="uniform policy"):
    """All actions equally likely in every state."""

    def learner(self) -> FtrlLearner:
        return FtrlLearner("uniform", 1.0, 1.0, 0.0)


class FtrlLearner:
    """Q(s,a) is estimated by phi(s,a)' Sigma^-1 phi(s_h,a_h) L: L the loss-to-go, Sigma = gamma I + E phi phi' under the policy played."""

    def __init__(self, kind: str, scale: float, gamma: float, bonus: float, reduced: bool = False) -> None:
        self.kind, self.scale, self.gamma, self.bonus, self.reduced = kind, scale, gamma, bonus, reduced

    def reset(self, process: Process) -> None:
        from kernels.bandits.barrier import log_barrier_rows

        self._barrier, self.process = log_barrier_rows, process
        self.eta = learning_rate(self.kind, self.scale, process)
        self.losses: np.ndarray = np.zeros(process.transitions.shape[:3])
        self.p: np.ndarray = np.empty_like(self.losses)
        self.phi: np.ndarray = process.features.reshape(len(process.features), -1, process.features.shape[-1])

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
        reach = occupancy(self.process.transitions, self.p).reshape(self.phi.shape[:2])
        covariance = (self.phi * reach[:, :, None]).transpose(0, 2, 1) @ self.phi + self.gamma * np.eye(self.phi.shape[2])
        g = self.phi @ np.linalg.solve(covariance, self.phi.transpose(0, 2, 1))  # G between all pairs of a layer
        togo, layers = np.cumsum(losses[::-1])[::-1], np.arange(len(losses))
        self.losses += self.estimate(g, reach, layers, states * self.p.shape[2] + actions, togo).reshape(self.losses.shape)
        if self.bonus:
            self.losses -= self._dilated(np.diagonal(g, axis1=1, axis2=2).reshape(self.p.shape))

    def estimate(self, g: np.ndarray, reach: np.ndarray, layers: np.ndarray, played: np.ndarray, togo: np.ndarray) -> np.ndarray:
        """Estimated Q [layers, states x actions] from G, the occupancy, the pairs played and the losses-to-go."""
        column = g[layers, :, played]
        if not self.reduced:
            return column * togo[:, None]
        negative, size = np.minimum(g, 0), len(layers)
        return column * togo[:, None] + size * ((negative @ reach[:, :, None])[:, :, 0] - negative[layers, :, played])

    def _dilated(self, widths: np.ndarray) -> np.ndarray:
        direct = self.bonus * (widths + (self.p * widths).sum(axis=-1, keepdims=True))
        total, future = np.empty_like(direct), np.zeros(direct.shape[1])
        for h in range(len(direct) - 1, -1, -1):
            total[h] = direct[h] + (1 + 1 / len(direct)) * self.process.transitions[h] @ future
            future = (self.p[h] * total[h]).sum(axis=-1)
        return total
