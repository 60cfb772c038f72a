"""Policies for losses chosen by an adversary, compiled: exponential weights and Tsallis-INF. Losses are 1 - reward, in [0, 1]."""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.armed_environment import draw, regret_of
from kernels.bandits.draws import uniform
from kernels.bandits.exponential import exp
from kernels.compiling import kernel


@kernel
def sample(p, u):
    """The arm whose stretch of the cumulative distribution holds u."""
    total = 0.0
    for i in range(p.size - 1):
        total += p[i]
        if u < total:
            return i
    return p.size - 1


@kernel
def exponential_weights(losses, eta, w):
    """w_i = exp(-eta (L_i - min L)); returns their sum."""
    least = losses[0]
    for i in range(1, losses.size):
        least = min(least, losses[i])
    total = 0.0
    for i in range(losses.size):
        w[i] = exp(-eta * (losses[i] - least))
        total += w[i]
    return total


@kernel
def sample_weights(w, total, u):
    """`sample` of p = w / total, dividing no further than the draw goes: the arm and its p."""
    reached, last = 0.0, w.size - 1
    for i in range(last):
        p = w[i] / total
        reached += p
        if u < reached:
            return i, p
    return last, w[last] / total


@kernel
def tsallis_weights(losses, eta, p, start):
    """p_i = 4 / (eta (L_i - x))^2 with x < min L such that they sum to 1; returns min L - x, to start the next call from.

    The sum is convex and rising in x, and at x = min L - 2/eta it is at least 1: Newton from there, or from anywhere below capped at
    there, converges without leaving the branch x < min L (beyond min L lies a mirror root).
    """
    n = losses.size
    least = losses[0]
    for i in range(1, n):
        least = min(least, losses[i])
    depth = max(start, 2.0 / eta)
    for _ in range(60):
        total, slope = 0.0, 0.0
        for i in range(n):
            w = 2.0 / (eta * (losses[i] - least + depth))
            p[i] = w * w
            total += p[i]
            slope += p[i] * w
        step = (total - 1.0) / (eta * slope)
        if abs(step) <= 1e-14 * depth:
            break
        depth = max(depth + step, 2.0 / eta)
    return depth


@kernel
def play_exp3(env, params, method_key, checkpoints, curve, trace):
    """params: scale, gamma. eta_t = scale sqrt(ln K / (t K)); losses enter as l / (p + gamma eta_t) (gamma 0: Exp3, 1/2: Exp3-IX)."""
    scale, gamma = params[0], params[1]
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    losses, w = np.zeros(arms), np.empty(arms)
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        eta = scale * math.sqrt(math.log(arms) / (t * arms))
        total = exponential_weights(losses, eta, w)
        arm, p = sample_weights(w, total, uniform(method_key, t, 0))
        losses[arm] += (1.0 - draw(law, truth[phase & 1, arm], factor, tail, key, t)) / (p + gamma * eta)
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
def play_tsallis(env, params, method_key, checkpoints, curve, trace):
    """params: reduced. eta_t = 2 / sqrt t with importance weighting, or 4 / sqrt t with reduced variance (baseline 1/2 if p >= eta^2)."""
    reduced = params[0] > 0.0
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    losses, p = np.zeros(arms), np.empty(arms)
    depth = 0.0
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        eta = (4.0 if reduced else 2.0) / math.sqrt(t)
        depth = tsallis_weights(losses, eta, p, depth)
        arm = sample(p, uniform(method_key, t, 0))
        loss = 1.0 - draw(law, truth[phase & 1, arm], factor, tail, key, t)
        if reduced:
            for i in range(arms):
                if p[i] >= eta * eta:
                    losses[i] += 0.5
            losses[arm] += (loss - (0.5 if p[arm] >= eta * eta else 0.0)) / p[arm]
        else:
            losses[arm] += loss / p[arm]
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret_of(truth, pulls)
            c += 1
        if t == ends[phase]:
            phase += 1
    return checkpoints[-1]
