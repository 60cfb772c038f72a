"""Link functions of generalized linear models, compiled: mu, its slope and its integral."""

from __future__ import annotations

import math

from kernels.compiling import kernel

IDENTITY, LOGISTIC, POISSON = 0, 1, 2
LINKS = {"identity": IDENTITY, "logistic": LOGISTIC, "poisson": POISSON}

#: Scores beyond this count as this in exp, so that a diverging learner has a huge but finite loss.
LARGEST = 500.0


@kernel
def mean_of(link, score):
    """mu(score)."""
    if link == LOGISTIC:
        return 1.0 / (1.0 + math.exp(-score)) if score >= 0 else math.exp(score) / (1.0 + math.exp(score))
    if link == POISSON:
        return math.exp(min(score, LARGEST))
    return score


@kernel
def curvature_of(link, score):
    """mu'(score)."""
    if link == LOGISTIC:
        mean = mean_of(link, score)
        return mean * (1.0 - mean)
    if link == POISSON:
        return math.exp(min(score, LARGEST))
    return 1.0


@kernel
def potential_of(link, score):
    """The integral of mu: score^2 / 2, log(1 + exp(score)), exp(score). Loss minus its value at the truth is what regret counts."""
    if link == LOGISTIC:
        return max(score, 0.0) + math.log1p(math.exp(-abs(score)))
    if link == POISSON:
        return math.exp(min(score, LARGEST))
    return 0.5 * score * score
