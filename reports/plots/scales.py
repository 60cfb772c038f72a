"""Axes: from data to pixels, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reports.plots.figure import Axis

#: Values beyond it sit on the edge, so that no width of an axis overflows.
LARGEST = 1e300


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] to [start, end] pixels, linearly or by logarithm. Values that a log axis can't show sit on its edge."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        if self.log:
            value = (math.log(max(value, self.low)) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            value = (value - self.low) / (self.high - self.low)
        return self.start + min(max(value, -0.02), 1.02) * (self.end - self.start)


def scale(axis: Axis, values: Iterable[float], start: float, end: float, most_ticks: int = 6) -> Scale:
    """A scale that holds all finite values, with the axis's own bounds where it has them."""
    known = [min(max(value, -LARGEST), LARGEST) for value in values if math.isfinite(value)]
    positive = [value for value in known if value > 0]
    if axis.scale == "log" and positive:
        low = axis.low if axis.low else min(positive)
        high = axis.high if axis.high else max(positive)
        low, high = low / 1.15, high * 1.15
        if high / low < 4:
            middle = math.sqrt(low * high)
            low, high = middle / 2, middle * 2
        return Scale(low, high, start, end, True, tuple(log_ticks(low, high, most_ticks)))
    low = min(known, default=0.0) if axis.low is None else axis.low
    high = max(known, default=1.0) if axis.high is None else axis.high
    if low == high:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    margin = 0.04 * (high - low)
    low, high = (low if axis.low is not None else low - margin), (high if axis.high is not None else high + margin)
    if axis.within is not None and max(low, axis.within[0]) < min(high, axis.within[1]):
        low, high = max(low, axis.within[0]), min(high, axis.within[1])
    return Scale(low, high, start, end, False, tuple(linear_ticks(low, high, most_ticks)))


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten within [low, high], at most `most`."""
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10, 20) if (high - low) / (factor * power) <= most - 0.5)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) + 0.0 for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten; with 2 and 5 between them where decades are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors: tuple[int, ...] = (1,) if last - first > 3 else (1, 2, 5)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    ticks = [tick for tick in ticks if low <= tick <= high]
    return ticks[:: max(1, math.ceil(len(ticks) / (most + 2)))]


def tick_text(value: float) -> str:
    """A tick label: short, without trailing zeros, thousands as k."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        mantissa = mantissa.removesuffix(".0")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("-", "−")
