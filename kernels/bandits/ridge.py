"""One step of online ridge regression: Gram matrix, inverse, estimate, predictions and widths together."""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.linalg import REFRESH, add_outer, dots, inverse, matvec, squared_widths
from kernels.compiling import kernel


@kernel
def learn(fixed, features, arm, target, weight, count, gram, inverse_gram, moments, theta, predictions, squared):
    """One ridge update with the row and its target multiplied by `weight`.

    For a fixed arm set the predictions x'theta and squared widths x'V^-1 x follow by rank-one updates, O(arms d). Returns 1 + x'V^-1 x from
    before the update, the factor by which det V grew.
    """
    d, arms = features.shape
    x = features[:, arm] * weight
    target *= weight
    u = np.empty(d)
    matvec(inverse_gram, x, u)
    s, prediction = 1.0, 0.0
    for j in range(d):
        s += x[j] * u[j]
        prediction += x[j] * theta[j]
    add_outer(gram, x, 1.0)
    root = math.sqrt(s)
    for j in range(d):
        u[j] /= root
    add_outer(inverse_gram, u, -1.0)
    step = (target - prediction) / root
    for j in range(d):
        moments[j] += target * x[j]
        theta[j] += step * u[j]
    if count % REFRESH == 0:
        inverse(gram, inverse_gram)
        matvec(inverse_gram, moments, theta)
        dots(features, theta, predictions)
        squared_widths(features, inverse_gram, squared)
    elif fixed:
        shift = np.empty(arms)
        dots(features, u, shift)
        for i in range(arms):
            predictions[i] += step * shift[i]
            squared[i] -= shift[i] * shift[i]
    return s
