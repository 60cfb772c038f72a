"""Policies for generalized linear and heavy-tailed linear bandits that look back at their rewards, compiled.

Signature as in `kernels.bandits.glm`. Unlike the one-pass policies there, the likelihood policies and TOFU keep every round: their memory
grows with the horizon.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.draws import uniform
from kernels.bandits.glm_environment import begin_glm_round, glm_reward
from kernels.bandits.likelihood import maximise_likelihood, refit_due
from kernels.bandits.linalg import REFRESH, add_outer, argmax, dots, inverse, matvec, squared_widths
from kernels.bandits.links import mean_of
from kernels.compiling import kernel


@kernel
def add_row(gram, inverse_gram, x, count):
    """V += x x' and its inverse; refreshed from V every REFRESH rows."""
    u, s = np.empty(x.size), 1.0
    matvec(inverse_gram, x, u)
    for j in range(x.size):
        s += x[j] * u[j]
    add_outer(gram, x, 1.0)
    add_outer(inverse_gram, u / math.sqrt(s), -1.0)
    if count % REFRESH == 0:
        inverse(gram, inverse_gram)


@kernel
def play_likelihood(env, params, method_key, checkpoints, curve, trace):
    """params: lam, c, explore, on_mean. Uniform arms for `explore` rounds, then argmax of x'theta + c |x|_{V^-1} (on_mean 0) or of
    mu(x'theta) + c |x|_{V^-1} (on_mean 1), theta the regularised maximum-likelihood estimate, V = lam I + sum x x'."""
    lam, c_, explore, on_mean = params[0], params[1], params[2], params[3] > 0.0
    features, scores = env.contexts.features.copy(), env.contexts.means.copy()
    d, arms = features.shape
    horizon = checkpoints[-1]
    rows, targets = np.empty((horizon, d)), np.empty(horizon)
    gram, inverse_gram, theta = np.eye(d) * lam, np.eye(d) / lam, np.zeros(d)
    predictions, squared = np.empty(arms), np.empty(arms)
    regret, c, last = 0.0, 0, 0
    for t in range(1, horizon + 1):
        best = begin_glm_round(env, t, features, scores)
        if t <= explore:
            arm = int(uniform(method_key, t, 0) * arms)
        else:
            if refit_due(t - 1, last):
                maximise_likelihood(rows, targets, t - 1, env.link, lam, theta)
                last = t - 1
            dots(features, theta, predictions)
            squared_widths(features, inverse_gram, squared)
            for i in range(arms):
                centre = mean_of(env.link, predictions[i]) if on_mean else predictions[i]
                predictions[i] = centre + c_ * math.sqrt(squared[i])
            arm = argmax(predictions)
        mean = mean_of(env.link, scores[arm])
        rows[t - 1] = features[:, arm]
        targets[t - 1] = glm_reward(env, t, mean)
        add_row(gram, inverse_gram, rows[t - 1], t)
        regret += best - mean
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return horizon


@kernel
def play_menu(env, params, method_key, checkpoints, curve, trace):
    """params: lam, c, plays, order, bound. Every arm is played `plays` times in a row; the j-th reward of an epoch enters the j-th ridge
    estimate, and the estimate with the smallest median distance to the others (in the norm of V) is played, with the radius
    c (3 (9 d bound)^(1/order) n^((2-order)/(2 order)) + 3 sqrt(lam)) after n - 1 epochs."""
    lam, c_, plays, order, bound = params[0], params[1], int(params[2]), params[3], params[4]
    features, scores = env.contexts.features.copy(), env.contexts.means.copy()
    d, arms = features.shape
    gram, inverse_gram = np.eye(d) * lam, np.eye(d) / lam
    moments, thetas = np.zeros((plays, d)), np.zeros((plays, d))
    predictions, squared, rewards = np.empty(arms), np.empty(arms), np.empty(plays)
    distances, difference, image = np.empty((plays, plays)), np.empty(d), np.empty(d)
    scale = 3.0 * (9.0 * d * bound) ** (1.0 / order)
    regret, c, arm, epoch, chosen = 0.0, 0, 0, 0, 0
    for t in range(1, checkpoints[-1] + 1):
        best = begin_glm_round(env, t, features, scores)
        turn = (t - 1) % plays
        if turn == 0:
            epoch += 1
            dots(features, thetas[chosen], predictions)
            squared_widths(features, inverse_gram, squared)
            radius = c_ * (scale * epoch ** ((2.0 - order) / (2.0 * order)) + 3.0 * math.sqrt(lam))
            for i in range(arms):
                predictions[i] += radius * math.sqrt(squared[i])
            arm = argmax(predictions)
        mean = mean_of(env.link, scores[arm])
        rewards[turn] = glm_reward(env, t, mean)
        if turn == plays - 1:
            x = features[:, arm].copy()
            add_row(gram, inverse_gram, x, epoch)
            for j in range(plays):
                for k in range(d):
                    moments[j, k] += rewards[j] * x[k]
                matvec(inverse_gram, moments[j], thetas[j])
            for i in range(plays):
                distances[i, i] = 0.0
                for j in range(i):
                    for k in range(d):
                        difference[k] = thetas[i, k] - thetas[j, k]
                    matvec(gram, difference, image)
                    distances[i, j] = 0.0
                    for k in range(d):
                        distances[i, j] += difference[k] * image[k]
                    distances[j, i] = distances[i, j]
            least = math.inf
            for i in range(plays):
                middle = np.median(distances[i])
                if middle < least:
                    least, chosen = middle, i
        regret += best - mean
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return epoch * plays


@kernel
def play_tofu(env, params, method_key, checkpoints, curve, trace):
    """params: lam, c, order, bound, horizon, delta. Ridge regression in the coordinates V^-1/2: coordinate i sums u_ij y_j over the rounds
    with |u_ij y_j| <= b_t, u = V^-1/2 X'. O(d^2 t) per round."""
    lam, c_, order, bound, log_term = params[0], params[1], params[2], params[3], math.log(2.0 * params[4] / params[5])
    features, scores = env.contexts.features.copy(), env.contexts.means.copy()
    d, arms = features.shape
    horizon = checkpoints[-1]
    rows, targets = np.empty((horizon, d)), np.empty(horizon)
    gram, inverse_gram, theta = np.eye(d) * lam, np.eye(d) / lam, np.zeros(d)
    predictions, squared, sums = np.empty(arms), np.empty(arms), np.empty(d)
    power = (2.0 - order) / (2.0 * order)
    level = (bound / log_term) ** (1.0 / order)
    scale = 4.0 * math.sqrt(d) * bound ** (1.0 / order) * (log_term + math.log(d)) ** ((order - 1.0) / order)
    regret, c = 0.0, 0
    for t in range(1, horizon + 1):
        best = begin_glm_round(env, t, features, scores)
        dots(features, theta, predictions)
        squared_widths(features, inverse_gram, squared)
        radius = c_ * (scale * t**power + math.sqrt(lam))
        for i in range(arms):
            predictions[i] += radius * math.sqrt(squared[i])
        arm = argmax(predictions)
        mean = mean_of(env.link, scores[arm])
        rows[t - 1] = features[:, arm]
        targets[t - 1] = glm_reward(env, t, mean)
        add_row(gram, inverse_gram, rows[t - 1], t)
        values, vectors = np.linalg.eigh(gram)
        root = (vectors / np.sqrt(values)) @ vectors.T
        limit = level * t**power
        for i in range(d):
            sums[i] = 0.0
            for s in range(t):
                u = 0.0
                for j in range(d):
                    u += root[i, j] * rows[s, j]
                if abs(u * targets[s]) <= limit:
                    sums[i] += u * targets[s]
        for i in range(d):
            theta[i] = 0.0
            for j in range(d):
                theta[i] += root[i, j] * sums[j]
        regret += best - mean
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = regret
            c += 1
    return horizon
