"""What may be shown about a hidden split: the parameter-free Ladder (Blum and Hardt 2015) and Thresholdout (Dwork et al. 2015).

Both protect finite data from adaptive questions (paper 213). Losses are per example, in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reports.stats.distributions import Floats


@dataclass(frozen=True, slots=True)
class LadderAnswer:
    """`shown` is the score that everybody may see; it changes only when `improved`."""

    shown: float
    improved: bool


def ladder(losses: Floats, best: Floats | None, shown: float, step: float = 0.01) -> LadderAnswer:
    """Show a new mean loss only when it beats the best submission's by more than one standard error of the paired difference and by `step`.

    `best`: losses of the best submission so far (None: the first one). What is shown is rounded to `step`, so that a submission reveals at
    most one of 1/step values.
    """
    losses = np.asarray(losses, dtype=np.float64)
    mean = float(losses.mean())
    rounded = round(round(mean / step) * step, 12)
    if best is None:
        return LadderAnswer(rounded, True)
    difference = losses - best
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference))
    if mean < float(np.mean(best)) - max(error, step):
        return LadderAnswer(rounded, True)
    return LadderAnswer(shown, False)


@dataclass(frozen=True, slots=True)
class ThresholdAnswer:
    """`value` comes from the development split unless `overfit`: the two splits disagreed, and one unit of budget is spent."""

    value: float
    overfit: bool


def threshold_of(n: int) -> float:
    """The threshold for a question about `n` hidden rows, 4 / sqrt(n): twice what the mean of n values in [0, 1] varies by at most."""
    return float(4 / np.sqrt(n))


def thresholdout(development: float, hidden: float, n: int, period: np.random.Generator, question: np.random.Generator) -> ThresholdAnswer:
    """Answer a statistical question about `n` hidden rows with the development value while it agrees with the hidden one within a noisy
    threshold.

    Noise is Laplace with scale threshold / 4. That of the threshold stays the same until a question finds the splits apart, as the proof
    of Thresholdout wants it: `period` is the generator of the time since then, `question` that of this question.
    """
    limit = threshold_of(n)
    scale = limit / 4
    if abs(development - hidden) <= limit + period.laplace(0, 2 * scale) + question.laplace(0, 4 * scale):
        return ThresholdAnswer(development, False)
    return ThresholdAnswer(float(np.clip(hidden + question.laplace(0, scale), 0.0, 1.0)), True)
