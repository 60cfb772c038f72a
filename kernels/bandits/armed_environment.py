"""K arms without contexts, as compiled functions: stochastic rewards, or means that an oblivious adversary switches."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kernels.bandits.compiling import kernel
from kernels.bandits.draws import gamma, normal, uniform

BERNOULLI, GAUSSIAN, STUDENT, PARETO, TWO_SIDED_PARETO, COUNTS = 0, 1, 2, 3, 4, 5
LAWS = {
    "bernoulli": BERNOULLI,
    "gaussian": GAUSSIAN,
    "student": STUDENT,
    "pareto": PARETO,
    "two_sided_pareto": TWO_SIDED_PARETO,
    "poisson": COUNTS,  # generalized linear bandits only
}


class ArmedEnvironment(NamedTuple):
    """One seed's environment. In phase p (from 0) arm i has mean `means[p % 2, i]`; phase p ends after round `ends[p]`."""

    law: int
    means: np.ndarray  #: [2, arms]
    ends: np.ndarray  #: int64, increasing; the last one is the horizon
    scale: float  #: factor on the noise (GAUSSIAN: its standard deviation)
    tail: float  #: degrees of freedom (STUDENT) or Pareto exponent
    noise_key: int


@kernel
def draw(law, mean, scale, tail, key, round_):
    """A reward with this mean. Noise belongs to the round, not to the arm: every policy meets the same."""
    if law == BERNOULLI:
        return 1.0 if uniform(key, round_, 0) < mean else 0.0
    return mean + scale * centred_noise(law, tail, key, round_)


@kernel
def centred_noise(law, tail, key, round_):
    """Noise with mean 0: standard normal, Student-t, Pareto minus its mean, or Pareto with a random sign."""
    if law == GAUSSIAN:
        return normal(key, round_, 0)
    if law == STUDENT:
        return normal(key, round_, 0) / math.sqrt(gamma(key, round_, 1, 0.5 * tail) / (0.5 * tail))
    size = uniform(key, round_, 0) ** (-1.0 / tail)
    if law == PARETO:
        return size - tail / (tail - 1.0)
    return size if uniform(key, round_, 1) < 0.5 else -size


@kernel
def regret_of(means, pulls):
    """Pseudo-regret of `pulls` [2, arms] against the best fixed arm. Summed as gaps: a stationary environment gives no rounding below 0."""
    first, second = pulls[0].sum(), pulls[1].sum()
    totals = first * means[0] + second * means[1]
    best = np.argmax(totals)
    regret = 0.0
    for j in range(means.shape[1]):
        regret += pulls[0, j] * (means[0, best] - means[0, j]) + pulls[1, j] * (means[1, best] - means[1, j])
    return regret
