"""UCB with robust means for rewards whose variance may be infinite, compiled."""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.armed_environment import draw, regret_of
from kernels.bandits.linalg import argmax
from kernels.compiling import kernel


@kernel
def play_truncated(env, params, method_key, checkpoints, curve, trace):
    """params: c, eps, u. Mean of rewards, the s-th kept if |x| <= (u s / ln t^2)^(1/(1+eps)) in the round t of its arrival, plus
    4 c u^(1/(1+eps)) (ln t^2 / n)^(eps/(1+eps)); each arm once first."""
    c_, eps, u = params[0], params[1], params[2]
    root, rate = 1.0 / (1.0 + eps), eps / (1.0 + eps)
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    counts, means, shrink, scores = np.zeros(arms), np.zeros(arms), np.zeros(arms), np.empty(arms)
    sums = np.zeros(arms)
    kept = 0
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        spread = 2.0 * math.log(max(t, 2))
        if t <= arms:
            arm = t - 1
        else:
            bonus = 4.0 * c_ * u**root * spread**rate
            for i in range(arms):
                scores[i] = means[i] + bonus * shrink[i]
            arm = argmax(scores)
        x = draw(law, truth[phase & 1, arm], factor, tail, key, t)
        counts[arm] += 1.0
        if abs(x) <= (u * counts[arm] / spread) ** root:
            sums[arm] += x
            kept += 1
        means[arm] = sums[arm] / counts[arm]
        shrink[arm] = counts[arm] ** -rate
        pulls[phase & 1, arm] += 1
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret_of(truth, pulls)
            c += 1
        if t == ends[phase]:
            phase += 1
    return kept


@kernel
def play_median_of_means(env, params, method_key, checkpoints, curve, trace):
    """params: c, eps, v. Median of k = min(8 ln(e^(1/8) t^2), n/2) block means (at least one), plus
    c (12 v)^(1/(1+eps)) (16 ln(e^(1/8) t^2) / n)^(eps/(1+eps)); each arm once first. Keeps the rewards: memory grows with the horizon."""
    c_, eps, v = params[0], params[1], params[2]
    root, rate = 1.0 / (1.0 + eps), eps / (1.0 + eps)
    law, truth, ends, factor, tail, key = env  # as scalars: a tuple of arrays costs more than the arithmetic
    arms = truth.shape[1]
    pulls = np.zeros((2, arms), np.int64)
    counts, blocks = np.zeros(arms, np.int64), np.zeros(arms, np.int64)
    medians, shrink, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    capacity = 64
    prefix = np.zeros((arms, capacity + 1))  # prefix[i, n]: sum of the first n rewards of arm i
    phase, c = 0, 0
    for t in range(1, checkpoints[-1] + 1):
        spread = 0.125 + 2.0 * math.log(t)
        if t <= arms:
            arm = t - 1
        else:
            bonus = c_ * (12.0 * v) ** root * (16.0 * spread) ** rate
            for i in range(arms):
                k = max(1, min(int(8.0 * spread), counts[i] // 2))
                if k != blocks[i]:
                    medians[i] = _median(prefix[i], counts[i], k)
                    blocks[i] = k
                scores[i] = medians[i] + bonus * shrink[i]
            arm = argmax(scores)
        n = counts[arm]
        if n == capacity:
            capacity *= 2
            grown = np.zeros((arms, capacity + 1))
            grown[:, : n + 1] = prefix
            prefix = grown
        prefix[arm, n + 1] = prefix[arm, n] + draw(law, truth[phase & 1, arm], factor, tail, key, t)
        counts[arm] = n + 1
        blocks[arm] = 0
        shrink[arm] = (n + 1.0) ** -rate
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
def _median(prefix, n, k):
    """Median of the means of the first k blocks of n // k rewards."""
    size = n // k
    blocks = np.empty(k)
    for b in range(k):
        blocks[b] = (prefix[(b + 1) * size] - prefix[b * size]) / size
    gap = k // 2
    while gap > 0:  # Shell's sort: numpy's median takes seconds to compile
        for i in range(gap, k):
            value = blocks[i]
            j = i
            while j >= gap and blocks[j - gap] > value:
                blocks[j] = blocks[j - gap]
                j -= gap
            blocks[j] = value
        gap //= 2
    return 0.5 * (blocks[(k - 1) // 2] + blocks[k // 2])
