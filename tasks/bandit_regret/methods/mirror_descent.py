"""Mirror descent with the entropy of the l1 ball."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.bandit_regret.newton import mu
from tasks.bandit_regret.online_regression import OnlineMethod, Stream
from tasks.bandit_regret.protocol import Compiled


class MirrorDescent(OnlineMethod, name="omd", label="mirror descent (EG)"):
    """Multiplies positive and negative weights by exp(-+ (eta / sqrt t) gradient) and scales them to an l1 norm of `radius`.

    Kivinen and Warmuth (1997), EG+-; online mirror descent with the entropy as in Shalev-Shwartz (2012). The comparator must lie in the
    l1 ball: sqrt d holds every vector of norm 1.
    """

    eta: float = Field(1.0, gt=0, le=1e6, description="step")
    radius: float = Field(3.0, gt=0, le=1e6, description="l1 norm of the weights")

    losses: ClassVar = ("squared", "logistic", "poisson")

    def learner(self) -> MirrorLearner:
        return MirrorLearner(self.eta, self.radius)

    def compiled(self, stream: Stream) -> Compiled:
        return Compiled("mirror", (self.eta, self.radius))


class MirrorLearner:
    def __init__(self, eta: float, radius: float) -> None:
        self.eta, self.radius = eta, radius

    def reset(self, stream: Stream) -> None:
        self.link, self.t, self.z, self.w = stream.link, 0, np.zeros(stream.dimension), np.zeros(stream.dimension)

    def predict(self, x: np.ndarray) -> float:
        return float(x @ self.w)

    def update(self, x: np.ndarray, y: float) -> None:
        self.t += 1
        self.z = self.z - self.eta / math.sqrt(self.t) * (mu(self.link, self.predict(x)) - y) * x
        largest = np.abs(self.z).max()
        up, down = np.exp(self.z - largest), np.exp(-self.z - largest)
        self.w = self.radius * (up - down) / (up + down).sum()
