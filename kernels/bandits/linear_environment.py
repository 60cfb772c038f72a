"""The linear bandit environment as compiled functions: r(x) = x'theta + eta(x) + noise, |eta(x)| <= zeta, eta a fixed function of x.

The same functions serve the compiled kernels and the round-by-round referee in `tasks.bandit_regret`, so that both meet the same numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kernels.bandits.draws import normal, uniform
from kernels.compiling import kernel

FIXED, SPHERE, ORTHANT = 0, 1, 2
CONSTANT, TWO_POINT, LOG_UNIFORM = 0, 1, 2
NO_MISSPECIFICATION, RANDOM_SIGN, ADVERSARIAL = 0, 1, 2


class LinearEnvironment(NamedTuple):
    """One seed's environment. Arm sets other than FIXED are regenerated every round; `features` and `means` then only give the shapes."""

    arm_set: int
    features: np.ndarray  #: [d, arms], one column per arm, unit norm
    means: np.ndarray  #: [arms], x'theta + eta(x)
    theta: np.ndarray  #: [d], unit norm
    zeta: float
    misspecification: int
    threshold: float  #: ADVERSARIAL: arms with x'theta at or above it get -zeta, the others +zeta
    noise: float  #: standard deviation; TWO_POINT and LOG_UNIFORM: the largest
    quiet: float  #: the smallest standard deviation
    share: float  #: TWO_POINT: probability of a quiet round
    spread: int  #: how the standard deviation varies between rounds
    data_key: int
    noise_key: int


@kernel
def begin_round(env, round_, features, means):
    """Write the round's features [d, arms] and mean rewards [arms]; return the largest mean. Rounds count from 1."""
    d, arms = features.shape
    if env.arm_set != FIXED:
        norms = np.zeros(arms)
        for j in range(d):
            for i in range(arms):
                index = j * arms + i
                value = normal(env.data_key, round_, index) if env.arm_set == SPHERE else uniform(env.data_key, round_, index)
                features[j, i] = value
                norms[i] += value * value
        for i in range(arms):
            norms[i] = 1.0 / math.sqrt(norms[i])
            means[i] = 0.0
        for j in range(d):
            for i in range(arms):
                features[j, i] *= norms[i]
                means[i] += features[j, i] * env.theta[j]
        for i in range(arms):
            if env.misspecification == RANDOM_SIGN:
                means[i] += env.zeta if uniform(env.data_key, round_, d * arms + i) < 0.5 else -env.zeta
            elif env.misspecification == ADVERSARIAL:
                means[i] += -env.zeta if means[i] >= env.threshold else env.zeta
    best = means[0]
    for i in range(1, arms):
        best = max(best, means[i])
    return best


@kernel
def noise_scale(env, round_):
    """Standard deviation of this round's noise."""
    if env.spread == CONSTANT:
        return env.noise
    u = uniform(env.noise_key, round_, 1)
    if env.spread == TWO_POINT:
        return env.quiet if u < env.share else env.noise
    return env.quiet * (env.noise / env.quiet) ** u


@kernel
def reward(env, round_, mean):
    """The reward of an arm with this mean. The noise belongs to the round, not to the arm: every policy meets the same."""
    return mean + noise_scale(env, round_) * normal(env.noise_key, round_, 0)
