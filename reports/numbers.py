"""How numbers are written: decimals follow the uncertainty, one choice per column so that digits align."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

#: More decimals than this are noise to a reader; smaller numbers are written in scientific notation.
MOST_DECIMALS = 5

#: Significant digits of numbers from ten million on at the most; as integers they are read, not counted.
MOST_DIGITS = 9


def formatter(values: Iterable[float | None], halves: Iterable[float | None] = ()) -> Callable[[float | None], str]:
    """A function that writes every number of a column alike: two significant digits of the narrower intervals' half-width, or four of
    the typical value where there are none."""
    known = np.array([abs(value) for value in values if value is not None and math.isfinite(value)])
    widths = np.array([half for half in halves if half is not None and math.isfinite(half) and half > 0])
    positive = known[known > 0]
    if len(widths):
        decimals = 1 - math.floor(math.log10(float(np.quantile(widths, 0.3))))
    elif len(positive) and not np.all(known == np.round(known)):
        decimals = 3 - math.floor(math.log10(float(np.median(positive))))
    else:
        decimals = 0
    largest = float(positive.max()) if len(positive) else 0.0
    if len(positive) and (decimals > MOST_DECIMALS + 1 or largest >= 1e7):
        typical = float(np.median(positive))
        if typical < 10.0**-MOST_DECIMALS * 100 or largest >= 1e7:
            return lambda value: missing(value) or _scientific(value or 0.0, decimals)
    wanted = decimals
    decimals = min(max(decimals, 0), MOST_DECIMALS)

    def write(value: float | None) -> str:
        gap = missing(value)
        if gap or value is None:
            return gap
        text = f"{value:,.{decimals}f}" if abs(value) >= 10_000 else f"{value:.{decimals}f}"
        if wanted > MOST_DECIMALS and value and float(text) == 0:
            return f"{value:.2g}".replace("-", "−", int(value < 0))  # not zero, only smaller than the others
        return text.lstrip("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")

    return write


def _scientific(value: float, decimals: int) -> str:
    """At least three digits, and as many more as that many decimals are, within reason."""
    digits = math.floor(math.log10(abs(value))) + 1 + decimals if value else 3
    return f"{value:.{min(max(digits, 3), MOST_DIGITS if abs(value) >= 1e7 else MOST_DECIMALS)}g}"


def missing(value: float | None) -> str:
    """What stands for a number that is not there."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return ""


def p_short(p: float) -> str:
    """p to two digits, to four where two would hide on which side of 5 or 1 % it lies."""
    text = f"{p:.2g}"
    return "unknown" if math.isnan(p) else f"{p:.4g}" if text in ("0.05", "0.01") else text


def p_value(p: float) -> str:
    """p as written in a table: never zero."""
    return "–" if math.isnan(p) else "<0.0001" if p < 1e-4 else p_short(p)


def p_text(p: float) -> str:
    """p as written in text: never zero."""
    if math.isnan(p):
        return "p unknown"
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
