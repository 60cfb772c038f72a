"""Policies for linear bandits, compiled: each kernel plays all rounds of one seed.

Every kernel has the signature `(env, params, method_key, checkpoints, curve, trace) -> used`:
env          a LinearEnvironment
params       float64 vector, in the order that the kernel unpacks it
method_key   key of the policy's own random numbers
checkpoints  int64, increasing rounds, the last one is the horizon
curve        float64, same length: receives the pseudo-regret at the checkpoints
trace        int64, empty, or as long as the horizon: receives the arms played
used         number of rounds whose reward entered an estimate

Memory does not depend on the horizon. `tasks.bandit_regret.methods` holds the readable policies that take the same decisions.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.draws import normal, uniform
from kernels.bandits.heteroscedastic import play_levels, play_weighted
from kernels.bandits.linalg import (
    TIE,
    argmax,
    cholesky_update,
    dots,
    solve_lower,
    solve_lower_transposed,
    squared_widths,
)
from kernels.bandits.linear_environment import FIXED, begin_round, reward
from kernels.bandits.ridge import learn
from kernels.compiling import kernel


@kernel
def play_uniform(env, params, method_key, checkpoints, curve, trace):
    features, means = env.features.copy(), env.means.copy()
    arms = means.size
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_round(env, t, features, means)
        arm = int(uniform(method_key, t, 0) * arms)
        regret += best - means[arm]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return 0


@kernel
def play_epsilon_greedy(env, params, method_key, checkpoints, curve, trace):
    """params: lam, c. Explores with probability min(1, c d / t), else plays the best ridge prediction."""
    lam, explore = params[0], params[1]
    features, means = env.features.copy(), env.means.copy()
    d, arms = features.shape
    fixed = env.arm_set == FIXED
    gram, inverse_gram = np.eye(d) * lam, np.eye(d) / lam
    moments, theta = np.zeros(d), np.zeros(d)
    predictions, squared = np.zeros(arms), np.zeros(arms)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_round(env, t, features, means)
        if uniform(method_key, t, 0) < min(1.0, explore * d / t):
            arm = int(uniform(method_key, t, 1) * arms)
        else:
            if not fixed:
                dots(features, theta, predictions)
            arm = argmax(predictions)
        learn(fixed, features, arm, reward(env, t, means[arm]), 1.0, t, gram, inverse_gram, moments, theta, predictions, squared)
        regret += best - means[arm]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return checkpoints[-1]


@kernel
def play_oful(env, params, method_key, checkpoints, curve, trace):
    """params: lam, beta, gamma, confidence (0 or 1), delta, noise, norm.

    Plays argmax x'theta + radius |x|_{V^-1}; learns from the round only if the width reaches gamma (0: always). The radius is beta, or
    with `confidence` beta (noise sqrt(2 ln(1/delta) + ln det V / det lam I) + sqrt(lam) norm).
    """
    lam, beta, gamma, confidence = params[0], params[1], params[2], params[3]
    delta, noise, norm = params[4], params[5], params[6]
    features, means = env.features.copy(), env.means.copy()
    d, arms = features.shape
    fixed = env.arm_set == FIXED
    gram, inverse_gram = np.eye(d) * lam, np.eye(d) / lam
    moments, theta = np.zeros(d), np.zeros(d)
    predictions, squared, scores = np.zeros(arms), np.zeros(arms), np.empty(arms)
    log_det = 0.0
    regret, c, used = 0.0, 0, 0
    if fixed:
        squared_widths(features, inverse_gram, squared)
    for t in range(1, checkpoints[-1] + 1):
        best = begin_round(env, t, features, means)
        if not fixed:
            dots(features, theta, predictions)
            squared_widths(features, inverse_gram, squared)
        radius = beta
        if confidence > 0.0:
            radius = beta * (noise * math.sqrt(2.0 * math.log(1.0 / delta) + log_det) + math.sqrt(lam) * norm)
        for i in range(arms):
            scores[i] = predictions[i] + radius * math.sqrt(max(squared[i], 0.0))
        arm = argmax(scores)
        if math.sqrt(max(squared[arm], 0.0)) >= gamma - TIE:
            used += 1
            s = learn(fixed, features, arm, reward(env, t, means[arm]), 1.0, used, gram, inverse_gram, moments, theta, predictions, squared)
            log_det += math.log(s)
        regret += best - means[arm]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return used


@kernel
def play_thompson(env, params, method_key, checkpoints, curve, trace):
    """params: lam, v. Plays argmax x'w with w ~ N(V^-1 b, v^2 V^-1), drawn as L^-T (L^-1 b + v z) with V = L L'."""
    lam, v = params[0], params[1]
    features, means = env.features.copy(), env.means.copy()
    d, arms = features.shape
    lower = np.eye(d) * math.sqrt(lam)
    moments, sample = np.zeros(d), np.empty(d)
    predictions = np.empty(arms)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_round(env, t, features, means)
        for j in range(d):
            sample[j] = moments[j]
        solve_lower(lower, sample)
        for j in range(d):
            sample[j] += v * normal(method_key, t, j)
        solve_lower_transposed(lower, sample)
        dots(features, sample, predictions)
        arm = argmax(predictions)
        target = reward(env, t, means[arm])
        for j in range(d):
            moments[j] += target * features[j, arm]
        cholesky_update(lower, features[:, arm].copy())
        regret += best - means[arm]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return checkpoints[-1]


@kernel
def play_suplin(env, params, method_key, checkpoints, curve, trace):
    """params: lam, then the radius of each level. Level l (from 1) has its own regression; see `methods/suplinucb.py` for the rule."""
    lam, radii = params[0], params[1:]
    features, means = env.features.copy(), env.means.copy()
    d, arms = features.shape
    levels = radii.size
    fixed = env.arm_set == FIXED
    gram, inverse_gram = np.zeros((levels, d, d)), np.zeros((levels, d, d))
    moments, theta = np.zeros((levels, d)), np.zeros((levels, d))
    predictions, squared = np.zeros((levels, arms)), np.zeros((levels, arms))
    counts = np.zeros(levels, np.int64)
    for level in range(levels):
        for j in range(d):
            gram[level, j, j] = lam
            inverse_gram[level, j, j] = 1.0 / lam
        if fixed:
            squared_widths(features, inverse_gram[level], squared[level])
    alive, widths, scores = np.empty(arms, np.bool_), np.empty(arms), np.empty(arms)
    regret, c, used = 0.0, 0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_round(env, t, features, means)
        alive[:] = True
        for level in range(levels):
            if not fixed:
                dots(features, theta[level], predictions[level])
                squared_widths(features, inverse_gram[level], squared[level])
            size = 0.5 ** (level + 1)
            for i in range(arms):
                width = math.sqrt(max(squared[level, i], 0.0))
                widths[i] = width if alive[i] else -math.inf
                scores[i] = predictions[level, i] + radii[level] * width if alive[i] else -math.inf
            arm = argmax(widths)
            if widths[arm] >= size - TIE:
                used += 1
                counts[level] += 1
                target = reward(env, t, means[arm])
                learn(
                    fixed,
                    features,
                    arm,
                    target,
                    1.0,
                    counts[level],
                    gram[level],
                    inverse_gram[level],
                    moments[level],
                    theta[level],
                    predictions[level],
                    squared[level],
                )
                break
            arm = argmax(scores)
            if t <= 4.0 ** (level + 1) * d or level == levels - 1:
                break
            floor = scores[arm] - 3.0 * radii[level] * size - TIE
            for i in range(arms):
                alive[i] = alive[i] and scores[i] >= floor
        regret += best - means[arm]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return used


#: The kernels by the name under which a method asks for them.
KERNELS = {
    "uniform": play_uniform,
    "epsilon_greedy": play_epsilon_greedy,
    "oful": play_oful,
    "thompson": play_thompson,
    "suplin": play_suplin,
    "weighted": play_weighted,
    "levels": play_levels,
}
