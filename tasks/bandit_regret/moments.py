"""Moments of the noise laws, which robust policies are told."""

from __future__ import annotations

import math


def finite_order(law: str, tail: float) -> float:
    """The order 1 + eps in (1, 2] of the moment that robust policies are told: 2 where finite, else .1 (or less) below `tail`."""
    return 2.0 if law == "gaussian" or tail > 2 else tail - min(0.1, (tail - 1) / 2)


def absolute_moment(law: str, tail: float, order: float) -> float:
    """E|X|^order of the centred noise laws with scale 1; for the centred Pareto an upper bound unless order is 2."""
    gamma = math.gamma
    if law == "gaussian":
        return 2 ** (order / 2) * gamma((order + 1) / 2) / math.sqrt(math.pi)
    if law == "student":
        return tail ** (order / 2) * gamma((order + 1) / 2) * gamma((tail - order) / 2) / (math.sqrt(math.pi) * gamma(tail / 2))
    raw = tail / (tail - order)
    if law == "two_sided_pareto":
        return raw
    mean = tail / (tail - 1)
    return raw - mean**2 if order == 2.0 else (raw ** (1 / order) + mean) ** order
