"""Thompson sampling for K arms, compiled. With Beta priors almost all time goes into 2 K gamma variates a round.

What a round draws depends on (key, round, index) alone, so normals and uniforms are computed ahead, in blocks of rounds, by vector
instructions; only the shapes of the posteriors wait for the rewards. The variates are those of `draws.gamma` and `draws.normal` to the bit.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.armed_environment import draw, regret_of
from kernels.bandits.draws import GAMMA_INDICES, gamma, normals, uniform
from kernels.bandits.linalg import argmax
from kernels.compiling import kernel

_BLOCK = 640  # variates ahead, or one round's if they are more
_ONE = np.uint64(1)


@kernel
def block(indices):
    """The rounds that one block holds and the counters of its draws, round after round from 1; the rest of the last vector is not used."""
    rounds = max(_BLOCK // indices.size, 1)
    counters = np.empty((rounds * indices.size + 63) // 64 * 64, np.uint64)
    for i in range(counters.size):
        counters[i] = (i // indices.size + 1 << 20) + indices[i % indices.size]
    return rounds, counters


@kernel
def first_attempts(key, counters, z, level, work):
    """First attempts of `draws.gamma` at these counters: the normals z, and the logarithms of the uniforms that decide whether z is taken,
    or -inf where the squeeze takes it whatever the shape is.
    """
    normals(key, counters, z)
    for i in range(z.size):
        u = uniform(key, 0, counters[i] + _ONE)
        level[i] = -math.inf if u < 1.0 - 0.0331 * z[i] * z[i] * z[i] * z[i] else u
    n = 0
    for i in range(z.size):
        work[n] = i
        n += level[i] > 0.0
    for k in range(n):
        level[work[k]] = math.log(level[work[k]])


@kernel
def set_shape(d, c, lane, shape):
    """The constants of a lane's gamma variate; below 1 the shape needs another method, and c = nan sends it to `draws.gamma`."""
    d[lane] = shape - 1.0 / 3.0
    c[lane] = 1.0 / math.sqrt(9.0 * d[lane]) if shape >= 1.0 else math.nan


@kernel
def attempt(z, level, d, c, x):
    """Gamma variates from first attempts; returns how many are 0 because they need `draws.gamma` (in most rounds none).

    With w = c z the test ln u < z^2 / 2 + d (1 - v + ln v) needs no logarithm of v where the series of ln(1 + w) settles it: for w > -1/2
    its right side is at least -d w^4 (3/4 + 1.1 |w|). The margin is far above the rounding errors of either form.
    """
    unsettled = 0
    for lane in range(x.size):
        w = c[lane] * z[lane]
        v = 1.0 + w
        v = v * v * v
        bound = -1e-9 - d[lane] * (1e-14 + w * w * w * w * (0.75 + 1.1 * abs(w)))
        taken = (level[lane] < bound) & ((v > 0.125) | ((v > 0.0) & (level[lane] == -math.inf)))
        x[lane] = d[lane] * v if taken else 0.0
        unsettled += not taken
    return unsettled


@kernel
def play_beta(env, method_key, checkpoints, curve, trace):
    """Beta(1, 1) priors on rewards in {0, 1}: arm i's score is x / (x + y) with the gamma variates of lanes i and arms + i."""
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    lanes = 2 * arms
    indices = GAMMA_INDICES * np.concatenate((np.arange(0, lanes, 2), np.arange(1, lanes, 2)))  # as in draws.beta
    rounds, counters = block(indices)
    z, level, work = np.empty(counters.size), np.empty(counters.size), np.empty(counters.size, np.int64)
    pulls = np.zeros((2, arms), np.int64)
    counts, sums, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    d, c, gammas = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    x, y = gammas[:arms], gammas[arms:]
    for lane in range(lanes):
        set_shape(d, c, lane, 1.0)
    phase, checkpoint, at = 0, 0, rounds * lanes
    for t in range(1, checkpoints[-1] + 1):
        if at == rounds * lanes:
            first_attempts(method_key, counters, z, level, work)
            counters += np.uint64(rounds << 20)
            at = 0
        if attempt(z[at : at + lanes], level[at : at + lanes], d, c, gammas):
            for i in range(arms):
                if x[i] == 0.0:
                    x[i] = gamma(method_key, t, indices[i], 1.0 + sums[i])
                if y[i] == 0.0:
                    y[i] = gamma(method_key, t, indices[arms + i], 1.0 + counts[i] - sums[i])
        at += lanes
        for i in range(arms):
            scores[i] = x[i] / (x[i] + y[i])
        arm = argmax(scores)
        counts[arm] += 1.0
        sums[arm] += draw(law, truth[phase & 1, arm], factor, tail, key, t)
        set_shape(d, c, arm, 1.0 + sums[arm])
        set_shape(d, c, arms + arm, 1.0 + counts[arm] - sums[arm])
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[checkpoint]:
            curve[checkpoint] = regret_of(truth, pulls)
            checkpoint += 1
        if t == ends[phase]:
            phase += 1
    return checkpoints[-1]


@kernel
def play_gaussian(env, s, method_key, checkpoints, curve, trace):
    """Scores from N(mean, s^2 / n) after playing each arm once."""
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    rounds, counters = block(np.arange(arms))
    z = np.empty(counters.size)
    pulls = np.zeros((2, arms), np.int64)
    counts, sums, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    phase, c, at = 0, 0, rounds * arms
    for t in range(1, checkpoints[-1] + 1):
        if at == rounds * arms:
            normals(method_key, counters, z)
            counters += np.uint64(rounds << 20)
            at = 0
        if t <= arms:
            arm = t - 1
        else:
            normal = z[at : at + arms]
            for i in range(arms):
                scores[i] = sums[i] / counts[i] + s * normal[i] / math.sqrt(counts[i])
            arm = argmax(scores)
        at += arms
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


@kernel
def play_thompson(env, params, method_key, checkpoints, curve, trace):
    """params: gaussian (0 or 1), s."""
    if params[0] > 0.0:
        return play_gaussian(env, params[1], method_key, checkpoints, curve, trace)
    return play_beta(env, method_key, checkpoints, curve, trace)
