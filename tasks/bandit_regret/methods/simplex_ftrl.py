"""FTRL on the simplex: logarithmic barrier or entropy."""

from __future__ import annotations

import numpy as np

from tasks.bandit_regret.negative_losses import SimplexMethod


class LogBarrierFtrl(SimplexMethod, name="log-barrier-ftrl", label="log-barrier FTRL (simplex)", paper=14):
    """p = argmin eta <p, sum of losses> - sum ln p. Paper 14, "Refined regret for adversarial MDPs with linear function approximation"."""

    def learner(self) -> BarrierLearner:
        return BarrierLearner()


class EntropyFtrl(SimplexMethod, name="entropy-ftrl", label="entropy FTRL (Hedge)"):
    """p proportional to exp(-eta sum of losses). Littlestone and Warmuth (1994); Freund and Schapire (1997)."""

    def learner(self) -> EntropyLearner:
        return EntropyLearner()


class BarrierLearner:
    def reset(self, actions: int, eta: float) -> None:
        from kernels.bandits.barrier import log_barrier_rows

        self._barrier, self.eta = log_barrier_rows, eta
        self.losses, self.p = np.zeros((1, actions)), np.empty((1, actions))

    def distribution(self) -> np.ndarray:
        self._barrier(self.losses, self.eta, self.p)
        return self.p[0] / self.p[0].sum()

    def update(self, losses: np.ndarray) -> None:
        self.losses = self.losses + losses


class EntropyLearner:
    def reset(self, actions: int, eta: float) -> None:
        self.eta, self.losses = eta, np.zeros(actions)

    def distribution(self) -> np.ndarray:
        weights = np.exp(-self.eta * (self.losses - self.losses.min()))
        return weights / weights.sum()

    def update(self, losses: np.ndarray) -> None:
        self.losses = self.losses + losses
