"""The generalized linear bandit environment as compiled functions: E[r | x] = mu(x'theta), with light or heavy tails.

The same functions serve the kernels and the round-by-round referee, so that both meet the same numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from kernels.bandits.armed_environment import BERNOULLI, COUNTS, centred_noise
from kernels.bandits.compiling import kernel
from kernels.bandits.draws import poisson, uniform
from kernels.bandits.linear_environment import LinearEnvironment, begin_round
from kernels.bandits.links import mean_of


class GlmEnvironment(NamedTuple):
    """One seed's environment: `contexts` draws the features and holds theta; its own noise and misspecification are not used."""

    contexts: LinearEnvironment
    link: int
    hold: int  #: rounds for which a set of contexts stays
    law: int
    scale: float
    tail: float
    noise_key: int


@kernel
def begin_glm_round(env, round_, features, scores):
    """Write the features [d, arms] and scores x'theta [arms] that hold in this round; return the largest mean."""
    if env.hold == 1 or (round_ - 1) % env.hold == 0:
        begin_round(env.contexts, (round_ - 1) // env.hold + 1, features, scores)
    best = scores[0]
    for i in range(1, scores.size):
        best = max(best, scores[i])
    return mean_of(env.link, best)


@kernel
def glm_reward(env, round_, mean):
    """The reward of an arm with this mean: Bernoulli, Poisson, or the mean plus centred noise. The noise belongs to the round."""
    if env.law == BERNOULLI:
        return 1.0 if uniform(env.noise_key, round_, 0) < mean else 0.0
    if env.law == COUNTS:
        return poisson(uniform(env.noise_key, round_, 0), mean)
    return mean + env.scale * centred_noise(env.law, env.tail, env.noise_key, round_)
