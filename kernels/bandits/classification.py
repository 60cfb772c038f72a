"""Classification as a bandit, compiled: each example is shown once, the arms are the classes, and only right or wrong is told.

Signature `(env, params, method_key, checkpoints, curve, trace) -> used` as in `kernels.bandits.linear`, with a LabelEnvironment. One linear
model per arm, all on the same features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kernels.bandits.draws import uniform
from kernels.bandits.linalg import REFRESH, add_outer, argmax, inverse, matvec
from kernels.compiling import kernel


class LabelEnvironment(NamedTuple):
    """One seed's environment: examples in the order in which they come. The reward is 1 for the right class, else 0."""

    rows: np.ndarray  #: [rounds, d]
    labels: np.ndarray  #: int64 [rounds]
    classes: int


@kernel
def play_uniform(env, params, method_key, checkpoints, curve, trace):
    errors, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        arm = int(uniform(method_key, t, 0) * env.classes)
        errors += arm != env.labels[t - 1]
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = errors
            c += 1
    return 0


@kernel
def play_disjoint(env, params, method_key, checkpoints, curve, trace):
    """params: lam, alpha, epsilon. One ridge regression per arm; plays argmax x'theta_a + alpha |x|_{V_a^-1}, with probability epsilon a
    uniform arm instead."""
    lam, alpha, epsilon = params[0], params[1], params[2]
    arms, d = env.classes, env.rows.shape[1]
    gram, inverse_gram = np.zeros((arms, d, d)), np.zeros((arms, d, d))
    moments, theta, counts = np.zeros((arms, d)), np.zeros((arms, d)), np.zeros(arms, np.int64)
    for a in range(arms):
        for j in range(d):
            gram[a, j, j] = lam
            inverse_gram[a, j, j] = 1.0 / lam
    scores, u = np.empty(arms), np.empty(d)
    errors, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        x = env.rows[t - 1]
        for a in range(arms):
            score, width = 0.0, 0.0
            for j in range(d):
                score += x[j] * theta[a, j]
            if alpha > 0.0:
                matvec(inverse_gram[a], x, u)
                for j in range(d):
                    width += x[j] * u[j]
            scores[a] = score + alpha * math.sqrt(max(width, 0.0))
        arm = argmax(scores)
        if epsilon > 0.0 and uniform(method_key, t, 0) < epsilon:
            arm = int(uniform(method_key, t, 1) * arms)
        reward = 1.0 if arm == env.labels[t - 1] else 0.0
        matvec(inverse_gram[arm], x, u)
        s, prediction = 1.0, 0.0
        for j in range(d):
            s += x[j] * u[j]
            prediction += x[j] * theta[arm, j]
            moments[arm, j] += reward * x[j]
        add_outer(gram[arm], x, 1.0)
        root = math.sqrt(s)
        for j in range(d):
            u[j] /= root
        add_outer(inverse_gram[arm], u, -1.0)
        for j in range(d):
            theta[arm, j] += (reward - prediction) / root * u[j]
        counts[arm] += 1
        if counts[arm] % REFRESH == 0:
            inverse(gram[arm], inverse_gram[arm])
            matvec(inverse_gram[arm], moments[arm], theta[arm])
        errors += 1.0 - reward
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = errors
            c += 1
    return checkpoints[-1]


@kernel
def play_banditron(env, params, method_key, checkpoints, curve, trace):
    """params: gamma. Draws the arm from (1 - gamma) [best guess] + gamma / K; the guess's weights lose x, the played arm's gain x / p if it
    was right."""
    gamma = params[0]
    arms, d = env.classes, env.rows.shape[1]
    weights, scores = np.zeros((arms, d)), np.empty(arms)
    errors, c, used = 0.0, 0, 0
    for t in range(1, checkpoints[-1] + 1):
        x = env.rows[t - 1]
        for a in range(arms):
            scores[a] = 0.0
            for j in range(d):
                scores[a] += x[j] * weights[a, j]
        guess = argmax(scores)
        arm = guess
        if uniform(method_key, t, 0) < gamma:
            arm = int(uniform(method_key, t, 1) * arms)
        right = arm == env.labels[t - 1]
        if right:
            p = gamma / arms + (1.0 - gamma if arm == guess else 0.0)
            for j in range(d):
                weights[arm, j] += x[j] / p
            used += 1
        for j in range(d):
            weights[guess, j] -= x[j]
        errors += 0.0 if right else 1.0
        if trace.size:
            trace[t - 1] = arm
        if t == checkpoints[c]:
            curve[c] = errors
            c += 1
    return used


#: The kernels by the name under which a method asks for them.
KERNELS = {"uniform": play_uniform, "disjoint": play_disjoint, "banditron": play_banditron}
