"""Online regression, compiled: environment and learners. The loss of a score p is (p - y)^2 / 2, log(1 + e^p) - y p or e^p - y p.

Signature `(env, params, checkpoints, curve, trace) -> None`: `curve` receives the regret against `env.comparator`, `trace` (empty or one
float64 per round) the predictions. A learner whose prediction leaves +-1e100 has diverged: its regret is infinite from there on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kernels.bandits.compiling import kernel
from kernels.bandits.draws import normal, poisson, uniform
from kernels.bandits.glm import GRAM, newton_step
from kernels.bandits.likelihood import maximise_likelihood
from kernels.bandits.links import IDENTITY, LOGISTIC, mean_of, potential_of
from kernels.bandits.ridge import learn

DIVERGED = 1e100


class OnlineEnvironment(NamedTuple):
    """A stream: rows of a table in order, over and over, or (empty table) x uniform on the sphere and y = x'comparator + noise, a coin
    with probability mu(x'comparator) of 1 (LOGISTIC), or a Poisson count with that mean."""

    rows: np.ndarray  #: [n, d], n = 0 for a generated stream
    targets: np.ndarray  #: [n]
    comparator: np.ndarray  #: [d]
    noise: float
    data_key: int
    noise_key: int
    link: int


@kernel
def example(env, round_, x):
    """Write the features of this round into x [d] and return its target."""
    d = x.size
    if env.targets.size:
        row = (round_ - 1) % env.targets.size
        for j in range(d):
            x[j] = env.rows[row, j]
        return env.targets[row]
    total = 0.0
    for j in range(d):
        x[j] = normal(env.data_key, round_, j)
        total += x[j] * x[j]
    score = 0.0
    for j in range(d):
        x[j] /= math.sqrt(total)
        score += x[j] * env.comparator[j]
    if env.link == IDENTITY:
        return score + env.noise * normal(env.noise_key, round_, 0)
    mean, u = mean_of(env.link, score), uniform(env.noise_key, round_, 0)
    if env.link == LOGISTIC:
        return 1.0 if u < mean else 0.0
    return poisson(u, mean)


@kernel
def dot(a, b):
    total = 0.0
    for j in range(a.size):
        total += a[j] * b[j]
    return total


@kernel
def excess_loss(link, prediction, score, y):
    """Loss of a prediction minus that of the comparator's score."""
    if link == IDENTITY:
        return 0.5 * (prediction - y) * (prediction - y) - 0.5 * (score - y) * (score - y)
    return potential_of(link, prediction) - y * prediction - (potential_of(link, score) - y * score)


@kernel
def judge(env, t, x, y, prediction, regret, checkpoints, c, curve, trace):
    """Charge the loss of the prediction minus the comparator's; returns the regret so far."""
    if trace.size:
        trace[t - 1] = prediction
    if not abs(prediction) < DIVERGED:
        regret = math.inf
    else:
        regret += excess_loss(env.link, prediction, dot(x, env.comparator), y)
    if t == checkpoints[c]:
        curve[c] = regret
    return regret


@kernel
def play_ridge(env, params, checkpoints, curve, trace):
    """params: lam, forward. Ridge regression on the past; `forward` (Vovk-Azoury-Warmuth) counts the present x as well, with target 0."""
    lam, forward = params[0], params[1] > 0.0
    d = env.comparator.size
    gram, inverse_gram = np.eye(d) * lam, np.eye(d) / lam
    moments, theta, x = np.zeros(d), np.zeros(d), np.empty(d)
    column, predictions, squared = np.empty((d, 1)), np.zeros(1), np.zeros(1)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        y = example(env, t, x)
        prediction = dot(x, theta)
        if forward:
            width = 0.0
            for i in range(d):
                for j in range(d):
                    width += x[i] * inverse_gram[i, j] * x[j]
            prediction /= 1.0 + width
        regret = judge(env, t, x, y, prediction, regret, checkpoints, c, curve, trace)
        c += t == checkpoints[c]
        column[:, 0] = x
        learn(False, column, 0, y, 1.0, t, gram, inverse_gram, moments, theta, predictions, squared)


@kernel
def play_ons(env, params, checkpoints, curve, trace):
    """params: lam, gamma, norm. A += g g', w -= A^-1 g / gamma, projected onto |w| <= norm in the norm of A."""
    lam, gamma, norm = params[0], params[1], params[2]
    d = env.comparator.size
    gram, inverse_gram, w, x = np.eye(d) * lam, np.eye(d) / lam, np.zeros(d), np.empty(d)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        y = example(env, t, x)
        prediction = dot(x, w)
        regret = judge(env, t, x, y, prediction, regret, checkpoints, c, curve, trace)
        c += t == checkpoints[c]
        newton_step(gram, inverse_gram, w, x * (mean_of(env.link, prediction) - y), 1.0, 1.0 / gamma, norm, GRAM, t)


@kernel
def play_gradient(env, params, checkpoints, curve, trace):
    """params: eta, kind (0: OGD eta / sqrt t, 1: AdaGrad, 2: linearised FTRL, 3: implicit FTRL)."""
    eta, kind = params[0], int(params[1])
    d = env.comparator.size
    w, total, x = np.zeros(d), np.zeros(d), np.empty(d)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        y = example(env, t, x)
        prediction = dot(x, w)
        regret = judge(env, t, x, y, prediction, regret, checkpoints, c, curve, trace)
        c += t == checkpoints[c]
        if regret == math.inf:
            for rest in range(c, checkpoints.size):
                curve[rest] = math.inf
            if trace.size:
                trace[t:] = math.inf
            return
        slope = mean_of(env.link, prediction) - y
        if kind == 0:
            for j in range(d):
                w[j] -= eta / math.sqrt(t) * slope * x[j]
        elif kind == 1:
            for j in range(d):
                g = slope * x[j]
                total[j] += g * g
                if total[j] > 0.0:
                    w[j] -= eta * g / math.sqrt(total[j])
        else:
            strength = math.sqrt(t + 1.0) / eta  # of the regulariser after this round
            if kind == 3:
                slope = (dot(x, total) / strength - y) / (1.0 + dot(x, x) / strength)
            for j in range(d):
                total[j] -= slope * x[j]
                w[j] = total[j] / strength


@kernel
def play_mirror(env, params, checkpoints, curve, trace):
    """params: eta, radius. Mirror descent with the entropy of the l1 ball (EG+-): z -= (eta / sqrt t) gradient, w = radius sinh(z) / sum
    cosh(z)."""
    eta, radius = params[0], params[1]
    d = env.comparator.size
    w, z, x = np.zeros(d), np.zeros(d), np.empty(d)
    regret, c = 0.0, 0
    for t in range(1, checkpoints[-1] + 1):
        y = example(env, t, x)
        prediction = dot(x, w)
        regret = judge(env, t, x, y, prediction, regret, checkpoints, c, curve, trace)
        c += t == checkpoints[c]
        slope, largest = mean_of(env.link, prediction) - y, 0.0
        for j in range(d):
            z[j] -= eta / math.sqrt(t) * slope * x[j]
            largest = max(largest, abs(z[j]))
        total = 0.0
        for j in range(d):
            up, down = math.exp(z[j] - largest), math.exp(-z[j] - largest)
            w[j] = radius * (up - down)
            total += up + down
        for j in range(d):
            w[j] /= total


@kernel
def play_ftrl(env, params, checkpoints, curve, trace):
    """params: lam. The minimiser of (lam / 2) |w|^2 plus all past losses, solved in every round: O(d^2 t) each, for other losses than
    squared (those have `play_ridge`)."""
    d, horizon = env.comparator.size, checkpoints[-1]
    rows, targets, w = np.empty((horizon, d)), np.empty(horizon), np.zeros(d)
    regret, c = 0.0, 0
    for t in range(1, horizon + 1):
        y = example(env, t, rows[t - 1])
        targets[t - 1] = y
        regret = judge(env, t, rows[t - 1], y, dot(rows[t - 1], w), regret, checkpoints, c, curve, trace)
        c += t == checkpoints[c]
        maximise_likelihood(rows, targets, t, env.link, params[0], w)


#: The kernels by the name under which a method asks for them.
KERNELS = {"ridge": play_ridge, "ons": play_ons, "gradient": play_gradient, "mirror": play_mirror, "ftrl": play_ftrl}
