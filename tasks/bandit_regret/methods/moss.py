"""MOSS."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.bandit_regret.estimates import MeansPolicy
from tasks.bandit_regret.protocol import ArmedMethod, Compiled, Problem


class Moss(ArmedMethod, name="moss", label="MOSS", knowledge=("horizon", "noise_scale")):
    """Plays each arm once, then the largest mean + s sqrt(max(ln(T / (K n)), 0) / n), s = scale times twice the noise scale.

    Audibert and Bubeck (2009), "Minimax policies for adversarial and stochastic bandits", for rewards in [0, 1] (noise scale 1/2, s = 1).
    """

    scale: float = Field(1.0, gt=0, le=100, description="factor on the bonus")

    def policy(self) -> MossPolicy:
        return MossPolicy(self.scale)

    def compiled(self, problem: Problem) -> Compiled:
        return Compiled("moss", (2 * self.scale * problem.facts["noise_scale"], problem.facts["horizon"]))


class MossPolicy(MeansPolicy):
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def scores(self, t: int) -> np.ndarray:
        counts = self.means.counts
        excess = np.maximum(np.log(self.facts["horizon"] / (self.arms * counts)), 0)
        return self.means.values + 2 * self.scale * self.facts["noise_scale"] * np.sqrt(excess / counts)
