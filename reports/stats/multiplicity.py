"""Corrections for asking many questions at once. NaN p-values (tests that could not be made) stay NaN and are not counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from reports.stats.distributions import Floats


def holm(p: Floats) -> Floats:
    """Holm's step-down adjusted p-values: the chance of any false rejection stays below the level, whatever the dependence."""
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    m = len(order)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (m - np.arange(m))))
    return adjusted


def benjamini_hochberg(p: Floats) -> Floats:
    """Benjamini-Hochberg adjusted p-values: the expected share of false ones among the rejections stays below the level."""
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    m = len(order)
    scaled = p[order] * m / np.arange(1, m + 1)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted


Correction = Literal["holm", "bh"]

#: The corrections that people can choose between, and their names. Holm's bounds the chance of any false finding, Benjamini and Hochberg's
#: the share of false ones among the findings, which suits long lists that somebody looks into.
CORRECTIONS: Mapping[Correction, Callable[[Floats], Floats]] = {"holm": holm, "bh": benjamini_hochberg}
CORRECTION_TEXT: Mapping[Correction, str] = {"holm": "Holm", "bh": "Benjamini-Hochberg, false discovery rate"}
