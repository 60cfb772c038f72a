"""Index policies for K arms, compiled: each kernel plays all rounds of one seed.

Signature `(env, params, method_key, checkpoints, curve, trace) -> used` as in `kernels.bandits.linear`, with an ArmedEnvironment.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.adversarial import play_exp3, play_tsallis
from kernels.bandits.armed_environment import draw, regret_of
from kernels.bandits.draws import uniform
from kernels.bandits.linalg import argmax
from kernels.bandits.robust import play_median_of_means, play_truncated
from kernels.bandits.thompson import play_thompson
from kernels.compiling import kernel


@kernel
def play_uniform(env, params, method_key, checkpoints, curve, trace):
    truth, ends = env.means, env.ends
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        arm = int(uniform(method_key, t, 0) * arms)
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret_of(truth, pulls)
            c += 1
        if t == ends[phase]:
            phase += 1
    return 0


@kernel
def play_greedy(env, params, method_key, checkpoints, curve, trace):
    """params: c. Explores with probability min(1, c K / t), else plays the largest mean (arms never played count as infinite)."""
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    counts, sums, means = np.zeros(arms), np.zeros(arms), np.full(arms, math.inf)
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        arm = int(uniform(method_key, t, 1) * arms) if uniform(method_key, t, 0) < min(1.0, params[0] * arms / t) else argmax(means)
        counts[arm] += 1.0
        sums[arm] += draw(law, truth[phase & 1, arm], factor, tail, key, t)
        means[arm] = sums[arm] / counts[arm]
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret_of(truth, pulls)
            c += 1
        if t == ends[phase]:
            phase += 1
    return checkpoints[-1]


@kernel
def play_ucb1(env, params, method_key, checkpoints, curve, trace):
    """params: s. Plays the largest mean + s sqrt(2 ln t / n); each arm once first."""
    scale = params[0]
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    counts, sums = np.zeros(arms), np.zeros(arms)
    means, shrink, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        arm = t - 1
        if t > arms:
            bonus = scale * math.sqrt(2.0 * math.log(t))
            for i in range(arms):
                scores[i] = means[i] + bonus * shrink[i]
            arm = argmax(scores)
        counts[arm] += 1.0
        sums[arm] += draw(law, truth[phase & 1, arm], factor, tail, key, t)
        means[arm] = sums[arm] / counts[arm]
        shrink[arm] = 1.0 / math.sqrt(counts[arm])
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret_of(truth, pulls)
            c += 1
        if t == ends[phase]:
            phase += 1
    return checkpoints[-1]


@kernel
def play_moss(env, params, method_key, checkpoints, curve, trace):
    """params: s, T. Plays the largest mean + s sqrt(max(ln(T / (K n)), 0) / n); each arm once first. Only the played index changes."""
    s, horizon = params[0], params[1]
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    counts, sums, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        arm = t - 1 if t <= arms else argmax(scores)
        counts[arm] += 1.0
        sums[arm] += draw(law, truth[phase & 1, arm], factor, tail, key, t)
        excess = max(math.log(horizon / (arms * counts[arm])), 0.0)
        scores[arm] = sums[arm] / counts[arm] + s * math.sqrt(excess / counts[arm])
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret_of(truth, pulls)
            c += 1
        if t == ends[phase]:
            phase += 1
    return checkpoints[-1]


@kernel
def kl_upper(mean, level):
    """The largest q with kl(mean, q) <= level for Bernoulli laws: Newton from the right of the root, where kl is convex and rising."""
    if mean > 1.0 - 1e-15:
        return 1.0
    if mean <= 0.0:
        return 1.0 - math.exp(-level)
    negative_entropy = mean * math.log(mean) + (1.0 - mean) * math.log(1.0 - mean)
    tail = (1.0 - mean) * math.exp(-(level - mean * math.log(mean)) / (1.0 - mean))  # 1 - q is at least this
    q = min(mean + math.sqrt(0.5 * level), 1.0 - tail)
    if q > 1.0 - 1e-15:
        return q
    for _ in range(50):
        excess = negative_entropy - mean * math.log(q) - (1.0 - mean) * math.log(1.0 - q) - level
        step = excess * q * (1.0 - q) / (q - mean) if q > mean else 0.0
        q -= step
        if step < 1e-13:
            break
    return max(q, mean)


@kernel
def play_kl_ucb(env, params, method_key, checkpoints, curve, trace):
    """params: c. Plays the largest q with n kl(mean, q) <= ln t + c ln ln t; each arm once first. Rewards in [0, 1]."""
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    counts, sums, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        if t <= arms:
            arm = t - 1
        else:
            level = math.log(t)
            level += params[0] * math.log(max(level, 1.0))
            for i in range(arms):
                scores[i] = kl_upper(sums[i] / counts[i], level / counts[i])
            arm = argmax(scores)
        counts[arm] += 1.0
        sums[arm] += draw(law, truth[phase & 1, arm], factor, tail, key, t)
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret_of(truth, pulls)
            c += 1
        if t == ends[phase]:
            phase += 1
    return checkpoints[-1]


#: The kernels by the name under which a method asks for them.
KERNELS = {
    "uniform": play_uniform,
    "epsilon_greedy": play_greedy,
    "ucb1": play_ucb1,
    "moss": play_moss,
    "kl_ucb": play_kl_ucb,
    "thompson": play_thompson,
    "exp3": play_exp3,
    "tsallis": play_tsallis,
    "truncated": play_truncated,
    "median_of_means": play_median_of_means,
}
