"""Counter-based random numbers: the draw of (key, round, index) is a pure function of the three.

Nothing is stored and nothing is drawn on demand, so two policies on one seed meet the same contexts and the same noise in every round,
whatever either of them did before; and a compiled kernel and a Python policy read the same numbers.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.bandits.compiling import kernel

#: A counter is round * 2**20 + index.
_SHIFT = np.uint64(20)
_WEYL = np.uint64(0x9E3779B97F4A7C15)
_A1, _A2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_B1, _B2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_R12, _R27, _R30, _R31, _R33 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(33)


@kernel
def bits(key, round_, index):
    """64 random bits: two published finalisers (SplitMix64's, then MurmurHash3's with the key mixed in between).

    The key enters after the first one, so that streams of two keys are not shifted windows of one sequence.
    """
    z = ((np.uint64(round_) << _SHIFT) | np.uint64(index)) * _WEYL + _WEYL
    z = (z ^ (z >> _R30)) * _A1
    z = (z ^ (z >> _R27)) * _A2
    z = (z ^ (z >> _R31)) ^ np.uint64(key)
    z = (z ^ (z >> _R33)) * _B1
    z = (z ^ (z >> _R33)) * _B2
    return z ^ (z >> _R33)


@kernel
def uniform(key, round_, index):
    """A float in the open interval (0, 1), 52 bits."""
    return (np.float64(bits(key, round_, index) >> _R12) + 0.5) * 2.220446049250313e-16


@kernel
def normal(key, round_, index):
    """A standard normal: one uniform through the inverse distribution function, so that one counter gives one normal."""
    return normal_quantile(uniform(key, round_, index))


@kernel
def normal_quantile(p):
    """Inverse of the standard normal distribution function, relative error below 1e-15 (Wichura 1988, algorithm AS 241, PPND16)."""
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        num = 3.3430575583588128105e4 + r * 2.5090809287301226727e3
        num = 4.5921953931549871457e4 + r * (6.7265770927008700853e4 + r * num)
        num = 1.9715909503065514427e3 + r * (1.3731693765509461125e4 + r * num)
        num = 3.3871328727963666080e0 + r * (1.3314166789178437745e2 + r * num)
        den = 2.8729085735721942674e4 + r * 5.2264952788528545610e3
        den = 2.1213794301586595867e4 + r * (3.9307895800092710610e4 + r * den)
        den = 6.8718700749205790830e2 + r * (5.3941960214247511077e3 + r * den)
        den = 1.0 + r * (4.2313330701600911252e1 + r * den)
        return q * num / den
    r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        num = 2.27238449892691845833e-2 + r * 7.74545014278341407640e-4
        num = 1.27045825245236838258e0 + r * (2.41780725177450611770e-1 + r * num)
        num = 5.76949722146069140550e0 + r * (3.64784832476320460504e0 + r * num)
        num = 1.42343711074968357734e0 + r * (4.63033784615654529590e0 + r * num)
        den = 5.47593808499534494600e-4 + r * 1.05075007164441684324e-9
        den = 1.48103976427480074590e-1 + r * (1.51986665636164571966e-2 + r * den)
        den = 1.67638483018380384940e0 + r * (6.89767334985100004550e-1 + r * den)
        den = 1.0 + r * (2.05319162663775882187e0 + r * den)
    else:
        r -= 5.0
        num = 2.71155556874348757815e-5 + r * 2.01033439929228813265e-7
        num = 2.65321895265761230930e-2 + r * (1.24266094738807843860e-3 + r * num)
        num = 1.78482653991729133580e0 + r * (2.96560571828504891230e-1 + r * num)
        num = 6.65790464350110377720e0 + r * (5.46378491116411436990e0 + r * num)
        den = 1.42151175831644588870e-7 + r * 2.04426310338993978564e-15
        den = 7.86869131145613259100e-4 + r * (1.84631831751005468180e-5 + r * den)
        den = 1.36929880922735805310e-1 + r * (1.48753612908506148525e-2 + r * den)
        den = 1.0 + r * (5.99832206555887937690e-1 + r * den)
    return -num / den if q < 0.0 else num / den


#: Indices that one gamma variate may use; its rejection loop ends after 1.05 draws on average and is never this long.
GAMMA_INDICES = 64


@kernel
def gamma(key, round_, index, shape):
    """A Gamma(shape, 1) variate from the indices `index` .. `index + GAMMA_INDICES - 1` (Marsaglia and Tsang 2000)."""
    boost = 1.0
    if shape < 1.0:
        boost = uniform(key, round_, index + GAMMA_INDICES - 1) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for attempt in range(0, GAMMA_INDICES - 2, 2):
        z = normal(key, round_, index + attempt)
        v = 1.0 + c * z
        if v <= 0.0:
            continue
        v = v * v * v
        u = uniform(key, round_, index + attempt + 1)
        if u < 1.0 - 0.0331 * z * z * z * z or math.log(u) < 0.5 * z * z + d * (1.0 - v + math.log(v)):
            return boost * d * v
    return boost * d


@kernel
def beta(key, round_, index, a, b):
    """A Beta(a, b) variate from 2 GAMMA_INDICES indices."""
    x = gamma(key, round_, index, a)
    return x / (x + gamma(key, round_, index + GAMMA_INDICES, b))


@kernel
def poisson(u, mean):
    """The Poisson count with this mean at the quantile u, at most 1000."""
    count, probability = 0.0, math.exp(-mean)
    while u > probability and count < 1000.0:
        u -= probability
        count += 1.0
        probability *= mean / count
    return count
