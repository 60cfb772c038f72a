"""First-order learners: online gradient descent, AdaGrad, and FTRL with linearised or implicit updates."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from tasks.bandit_regret.newton import mu
from tasks.bandit_regret.online_regression import OnlineMethod, Stream
from tasks.bandit_regret.protocol import Compiled


class Ogd(OnlineMethod, name="ogd", label="online gradient descent"):
    """w -= eta / sqrt t times the gradient. Zinkevich (2003)."""

    eta: float = Field(1.0, gt=0, le=1e12, description="step")

    losses: ClassVar = ("squared", "logistic", "poisson")

    def learner(self) -> GradientLearner:
        return GradientLearner(self.eta, 0)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("gradient", (self.eta, 0.0))


class AdaGrad(OnlineMethod, name="adagrad", label="AdaGrad"):
    """Each coordinate has the step eta / sqrt(sum of its squared gradients). Duchi, Hazan, Singer (2011), diagonal form."""

    eta: float = Field(0.3, gt=0, le=1e12, description="step")

    losses: ClassVar = ("squared", "logistic", "poisson")

    @classmethod
    def theory(cls, stream: Stream) -> dict[str, Any]:
        """D / sqrt 2 with D the bound on each coordinate."""
        return {"eta": stream.facts["norm_bound"] / math.sqrt(2)}

    def learner(self) -> GradientLearner:
        return GradientLearner(self.eta, 1)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("gradient", (self.eta, 1.0))


class LinearisedFtrl(OnlineMethod, name="linearised-ftrl", label="linearised FTRL"):
    """w_t minimises (sqrt t / (2 eta)) |w|^2 plus the linearised past losses: the baseline of paper 43."""

    eta: float = Field(1.0, gt=0, le=1e12, description="scale of the step")

    losses: ClassVar = ("squared", "logistic", "poisson")

    def learner(self) -> GradientLearner:
        return GradientLearner(self.eta, 2)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("gradient", (self.eta, 2.0))


class ImplicitFtrl(OnlineMethod, name="implicit-ftrl", label="implicit FTRL", paper=43):
    """FTRL whose linear terms are subgradients of the loss at the minimiser that includes the loss itself.

    Paper 43, "Generalized implicit follow-the-regularized-leader". For squared loss on <q, w> with regulariser (lam_{t+1} / 2) |w|^2 the
    term is z = (p1 - y) / (1 + h) q, h = |q|^2 / lam_{t+1}, p1 = <q, theta> / lam_{t+1}, lam_t = sqrt t / eta.
    """

    eta: float = Field(1.0, gt=0, le=1e12, description="scale of the step")

    def learner(self) -> GradientLearner:
        return GradientLearner(self.eta, 3)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("gradient", (self.eta, 3.0))


class GradientLearner:
    """The four rules above by number: 0 OGD, 1 AdaGrad, 2 linearised and 3 implicit FTRL."""

    def __init__(self, eta: float, kind: int) -> None:
        self.eta, self.kind = eta, kind

    def reset(self, stream: Stream) -> None:
        self.link = stream.link
        self.t, self.w, self.total = 0, np.zeros(stream.dimension), np.zeros(stream.dimension)

    def predict(self, x: np.ndarray) -> float:
        return float(x @ self.w)

    def update(self, x: np.ndarray, y: float) -> None:
        self.t += 1
        g = (mu(self.link, self.predict(x)) - y) * x
        if self.kind == 0:
            self.w = self.w - self.eta / math.sqrt(self.t) * g
        elif self.kind == 1:
            self.total = self.total + g**2
            self.w = self.w - self.eta * g / np.sqrt(np.where(self.total > 0, self.total, 1))
        else:
            strength = math.sqrt(self.t + 1) / self.eta
            if self.kind == 3:
                g = (x @ self.total / strength - y) / (1 + x @ x / strength) * x
            self.total = self.total - g
            self.w = self.total / strength
