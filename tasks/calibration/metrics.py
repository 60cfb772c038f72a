"""Scores of probabilistic predictions. probabilities [n, classes], labels [n]; confidence is the largest probability of a row, and the
prediction its class (the lowest one where classes tie)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A confidence this close below an edge counts as lying on it: 0.6 may be stored as 0.6000000000000001, and histogram binning and isotonic
#: regression return many values that are edges.
EDGE = 1e-9

#: Probabilities are clipped here before the logarithm, so that a zero for the true class costs 34.5 nats and not infinity.
CLIP = 1e-15


@dataclass(frozen=True, slots=True)
class Reliability:
    """Rows per bin, and the accuracy and mean confidence in each bin (0 where a bin is empty). Bin b covers (b / bins, (b + 1) / bins]."""

    counts: np.ndarray
    accuracy: np.ndarray
    confidence: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over rows of |accuracy - confidence| of the row's bin."""
        return float((self.counts * np.abs(self.accuracy - self.confidence)).sum() / self.counts.sum())


def bin_index(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Index of the equal-width bin, closed on the right as in Guo et al. 2017: 0.6 belongs to (0.533, 0.6] when there are 15."""
    return np.clip(np.ceil(confidence * bins - EDGE * bins).astype(np.int64) - 1, 0, bins - 1)


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int) -> Reliability:
    """The reliability diagram of confidences [n] and hits [n] over equal-width bins."""
    index = bin_index(confidence, bins)
    counts = np.bincount(index, minlength=bins)
    rows = np.maximum(counts, 1)
    accuracy = np.bincount(index, weights=correct, minlength=bins) / rows
    return Reliability(counts, accuracy, np.bincount(index, weights=confidence, minlength=bins) / rows)


def null_eces(confidence: np.ndarray, bins: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """The ECE [draws] that a perfectly calibrated model with these confidences would show: hits are drawn from the confidences themselves.

    ECE is biased upwards (it sums absolute sampling errors), so a difference below the 95 % quantile of these is not miscalibration.
    """
    member = np.eye(bins)[bin_index(confidence, bins)]
    residuals = (rng.random((draws, len(confidence))) < confidence) - confidence
    return np.abs(residuals @ member).sum(axis=1) / len(confidence)


def nll(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats, probabilities clipped at 1e-15."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], CLIP)).mean())


def brier(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over rows of the squared distance to the one-hot label, summed over classes: 0 to 2."""
    return float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1).mean())


def aurc(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Area under the risk-coverage curve: the error rate among the k most confident rows, averaged over k = 1..n.

    Rows of equal confidence enter in random order; the expectation over that order is returned.
    """
    values, inverse = np.unique(-confidence, return_inverse=True)
    sizes = np.bincount(inverse, minlength=len(values))
    errors = np.bincount(inverse, weights=1.0 - correct, minlength=len(values))
    cumulative = np.cumsum(np.repeat(errors / sizes, sizes))
    return float((cumulative / np.arange(1, len(confidence) + 1)).mean())


def auroc(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Probability that a right prediction is more confident than a wrong one, ties counting half; NaN when all are right or all wrong."""
    from scipy.stats import rankdata

    hits = int(correct.sum())
    misses = len(correct) - hits
    if not hits or not misses:
        return float("nan")
    return float((rankdata(confidence)[correct.astype(bool)].sum() - hits * (hits + 1) / 2) / (hits * misses))
