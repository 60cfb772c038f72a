"""K arms without contexts, as compiled functions: stochastic rewards, or means that an oblivious adversary switches."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kernels.bandits.compiling import kernel
from kernels.bandits.draws import gamma, normal, uniform

BERNOULLI, GAUSSIAN, STUDENT, PARETO, TWO_SIDED_PARETO = 0, 1, 2, 3, 4
LAWS = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN, "student": STUDENT, "pareto": PARETO, "two_sided_pareto": TWO_SIDED_PARETO}


class ArmedEnvironment(NamedTuple):
    """One seed's environment. In phase p (from 0) arm i has mean `means[p % 2, i]`; phase p ends after round `ends[p]`."""

    law: int
    means: np.ndarray  #: [2, arms]
    ends: np.ndarray  #: int64, increasing; the last one is the horizon
    scale: float  #: factor on the noise (GAUSSIAN: its standard deviation)
    tail: float  #: degrees of freedom (STUDENT) or Pareto exponent
    noise_key: int


@kernel
def pull(env, side, arm, round_):
    """The reward of `arm` in a phase with means[side]. Noise belongs to the round, not to the arm."""
    mean = env.means[side, arm]
    if env.law == BERNOULLI:
        return 1.0 if uniform(env.noise_key, round_, 0) < mean else 0.0
    return mean + env.scale * centred_noise(env.law, env.tail, env.noise_key, round_)


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
def settle(env, pulls, side, arm, round_, checkpoints, c, curve, trace):
    """Book a pull in `pulls` [2, arms]; at a checkpoint write the pseudo-regret against the best fixed arm so far. Returns the next c."""
    pulls[side, arm] += 1
    if trace.size:
        trace[round_ - 1] = arm
    if round_ != checkpoints[c]:
        return c
    first, second = 0, 0
    arms = pulls.shape[1]
    for i in range(arms):
        first += pulls[0, i]
        second += pulls[1, i]
    best = -math.inf
    for i in range(arms):
        best = max(best, first * env.means[0, i] + second * env.means[1, i])
    for i in range(arms):
        if first * env.means[0, i] + second * env.means[1, i] == best:
            regret = 0.0  # summed as gaps, so that a stationary environment can't give a rounding error below zero
            for j in range(arms):
                regret += pulls[0, j] * (env.means[0, i] - env.means[0, j]) + pulls[1, j] * (env.means[1, i] - env.means[1, j])
            curve[c] = regret
            break
    return c + 1
