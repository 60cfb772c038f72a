"""Generalized linear bandits with light or heavy tails: policies, compiled.

E[r | x] = mu(x'theta), contexts on the unit sphere (or its positive orthant), redrawn every `hold` rounds. Kernels have the signature of
`kernels.bandits.linear` with a GlmEnvironment.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.draws import uniform
from kernels.bandits.glm_environment import begin_glm_round, glm_reward
from kernels.bandits.linalg import (
    REFRESH,
    add_outer,
    argmax,
    cholesky,
    dots,
    inverse,
    matvec,
    solve_lower,
    solve_lower_transposed,
    squared_widths,
)
from kernels.bandits.links import mean_of
from kernels.bandits.optimistic_glm import play_likelihood, play_menu, play_tofu
from kernels.compiling import kernel

NO_PROJECTION, EUCLIDEAN, GRAM = 0, 1, 2


@kernel
def project(gram, theta, norm, kind):
    """Project theta in place onto the ball |theta| <= norm: by shrinking, or in the norm of the Gram matrix.

    The latter is (V + nu I)^-1 V theta with nu such that its length is `norm`: Newton on 1/length, as in trust-region methods.
    """
    d = theta.size
    length = math.sqrt(np.sum(theta * theta))
    if kind == NO_PROJECTION or length <= norm:
        return
    if kind == EUCLIDEAN:
        for j in range(d):
            theta[j] *= norm / length
        return
    target, shifted, lower, half = np.empty(d), gram.copy(), np.zeros((d, d)), np.empty(d)
    matvec(gram, theta, target)
    nu = 0.0
    for _ in range(100):
        for j in range(d):
            shifted[j, j] = gram[j, j] + nu
            theta[j] = target[j]
        cholesky(shifted, lower)
        solve_lower(lower, theta)
        solve_lower_transposed(lower, theta)
        length = math.sqrt(np.sum(theta * theta))
        if length <= norm * (1.0 + 1e-13):
            return
        for j in range(d):
            half[j] = theta[j]
        solve_lower(lower, half)
        nu += length * length / np.sum(half * half) * (length - norm) / norm


@kernel
def median(values, count):
    """Median of the first `count` values; sorts them."""
    for i in range(1, count):
        value = values[i]
        j = i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return 0.5 * (values[(count - 1) // 2] + values[count // 2])


@kernel
def newton_step(gram, inverse_gram, theta, x, curvature, gradient, norm, projection, count):
    """V += curvature x x', theta -= V^-1 gradient x, then the projection."""
    d = x.size
    u = np.empty(d)
    matvec(inverse_gram, x, u)
    s = 0.0
    for j in range(d):
        s += x[j] * u[j]
    s = 1.0 + curvature * s
    add_outer(gram, x * math.sqrt(curvature), 1.0)
    add_outer(inverse_gram, u * math.sqrt(curvature / s), -1.0)
    for j in range(d):
        theta[j] -= gradient * u[j] / s
    if count % REFRESH == 0:
        inverse(gram, inverse_gram)
    project(gram, theta, norm, projection)


@kernel
def play_newton(env, params, method_key, checkpoints, curve, trace):
    """params: lam, c, kappa, norm, threshold, plays, projection.

    Online Newton with step V += (kappa/2) x x' on one number per epoch of `plays` rounds of the same arm: the median of the rewards, set
    to 0 where its size times |x|_{V^-1} exceeds the threshold. Plays argmax x'theta + c |x|_{V^-1}.
    """
    lam, c_, kappa, norm, threshold = params[0], params[1], params[2], params[3], params[4]
    plays, projection = int(params[5]), int(params[6])
    features, scores = env.contexts.features.copy(), env.contexts.means.copy()
    d, arms = features.shape
    gram, inverse_gram, theta = np.eye(d) * lam, np.eye(d) / lam, np.zeros(d)
    predictions, squared, rewards = np.empty(arms), np.empty(arms), np.empty(plays)
    regret, c, used, arm = 0.0, 0, 0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_glm_round(env, t, features, scores)
        turn = (t - 1) % plays
        if turn == 0:
            dots(features, theta, predictions)
            squared_widths(features, inverse_gram, squared)
            for i in range(arms):
                predictions[i] += c_ * math.sqrt(squared[i])
            arm = argmax(predictions)
        mean = mean_of(env.link, scores[arm])
        rewards[turn] = glm_reward(env, t, mean)
        if turn == plays - 1:
            y = median(rewards, plays)
            if abs(y) * math.sqrt(squared[arm]) > threshold:
                y = 0.0
            else:
                used += plays
            x = features[:, arm].copy()
            score = 0.0
            for j in range(d):
                score += x[j] * theta[j]
            newton_step(gram, inverse_gram, theta, x, 0.5 * kappa, mean_of(env.link, score) - y, norm, projection, t)
        regret += best - mean
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return used


@kernel
def play_gloc(env, params, method_key, checkpoints, curve, trace):
    """params: lam, c, kappa, norm. V += x x'; online Newton iterates theta_s; plays argmax x'centre + c |x|_{V^-1} with the centre
    V^-1 sum (x_s'theta_s) x_s."""
    lam, c_, kappa, norm = params[0], params[1], params[2], params[3]
    features, scores = env.contexts.features.copy(), env.contexts.means.copy()
    d, arms = features.shape
    gram, inverse_gram = np.eye(d) * lam, np.eye(d) / lam
    theta, centre, moments = np.zeros(d), np.zeros(d), np.zeros(d)
    predictions, squared = np.empty(arms), np.empty(arms)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_glm_round(env, t, features, scores)
        dots(features, centre, predictions)
        squared_widths(features, inverse_gram, squared)
        for i in range(arms):
            predictions[i] += c_ * math.sqrt(squared[i])
        arm = argmax(predictions)
        mean = mean_of(env.link, scores[arm])
        y = glm_reward(env, t, mean)
        x = features[:, arm].copy()
        score = 0.0
        for j in range(d):
            score += x[j] * theta[j]
        for j in range(d):
            moments[j] += score * x[j]
        newton_step(gram, inverse_gram, theta, x, 1.0, (mean_of(env.link, score) - y) / kappa, norm, GRAM, t)
        matvec(inverse_gram, moments, centre)
        regret += best - mean
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return checkpoints[-1]


@kernel
def play_random(env, params, method_key, checkpoints, curve, trace):
    features, scores = env.contexts.features.copy(), env.contexts.means.copy()
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_glm_round(env, t, features, scores)
        arm = int(uniform(method_key, t, 0) * scores.size)
        regret += best - mean_of(env.link, scores[arm])
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return 0


#: The kernels by the name under which a method asks for them.
KERNELS = {
    "newton": play_newton,
    "gloc": play_gloc,
    "uniform": play_random,
    "likelihood": play_likelihood,
    "menu": play_menu,
    "tofu": play_tofu,
}
