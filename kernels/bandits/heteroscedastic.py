"""Linear bandit policies that are told each round's noise scale, compiled. Signature as in `kernels.bandits.linear`."""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.linalg import argmax, dots, squared_widths
from kernels.bandits.linear_environment import FIXED, begin_round, noise_scale, reward
from kernels.bandits.ridge import learn
from kernels.compiling import kernel


@kernel
def play_weighted(env, params, method_key, checkpoints, curve, trace):
    """params: lam, beta, floor, g. OFUL on rows weighted by 1/s, s^2 = max(sigma_t^2, floor^2, g^2 |x|_{V^-1})."""
    lam, beta, floor, g = params[0], params[1], params[2], params[3]
    features, means = env.features.copy(), env.means.copy()
    d, arms = features.shape
    fixed = env.arm_set == FIXED
    gram, inverse_gram = np.eye(d) * lam, np.eye(d) / lam
    moments, theta = np.zeros(d), np.zeros(d)
    predictions, squared, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    if fixed:
        squared_widths(features, inverse_gram, squared)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_round(env, t, features, means)
        if not fixed:
            dots(features, theta, predictions)
            squared_widths(features, inverse_gram, squared)
        for i in range(arms):
            scores[i] = predictions[i] + beta * math.sqrt(max(squared[i], 0.0))
        arm = argmax(scores)
        sigma = noise_scale(env, t)
        variance = max(sigma * sigma, floor * floor, g * g * math.sqrt(max(squared[arm], 0.0)))
        weight = 1.0 / math.sqrt(variance)
        learn(fixed, features, arm, reward(env, t, means[arm]), weight, t, gram, inverse_gram, moments, theta, predictions, squared)
        regret += best - means[arm]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return checkpoints[-1]


@kernel
def play_levels(env, params, method_key, checkpoints, curve, trace):
    """params: lam, beta, R, levels. One regression per level floor(log2(R / sigma_t)); optimistic over the intersection of their sets."""
    lam, beta, largest, levels = params[0], params[1], params[2], int(params[3])
    features, means = env.features.copy(), env.means.copy()
    d, arms = features.shape
    fixed = env.arm_set == FIXED
    gram, inverse_gram = np.zeros((levels, d, d)), np.zeros((levels, d, d))
    moments, theta = np.zeros((levels, d)), np.zeros((levels, d))
    predictions, squared = np.zeros((levels, arms)), np.zeros((levels, arms))
    counts = np.zeros(levels, np.int64)
    scores = np.empty(arms)
    for level in range(levels):
        for j in range(d):
            gram[level, j, j] = lam
            inverse_gram[level, j, j] = 1.0 / lam
        if fixed:
            squared_widths(features, inverse_gram[level], squared[level])
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_round(env, t, features, means)
        scores[:] = math.inf
        for level in range(levels):
            if not fixed:
                dots(features, theta[level], predictions[level])
                squared_widths(features, inverse_gram[level], squared[level])
            for i in range(arms):
                scores[i] = min(scores[i], predictions[level, i] + beta * math.sqrt(max(squared[level, i], 0.0)))
        arm = argmax(scores)
        level = min(max(math.floor(math.log2(largest / noise_scale(env, t)) + 1e-9), 0), levels - 1)
        counts[level] += 1
        learn(
            fixed,
            features,
            arm,
            reward(env, t, means[arm]),
            2.0**level / largest,
            counts[level],
            gram[level],
            inverse_gram[level],
            moments[level],
            theta[level],
            predictions[level],
            squared[level],
        )
        regret += best - means[arm]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return checkpoints[-1]
