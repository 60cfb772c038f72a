"""A figure as data: panels, axes, series. Drawing is in `reports.plots.svg`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Literal

Scale = Literal["linear", "log"]

#: line: polyline with band. scatter: markers with interval whiskers. step: staircase (a trade-off front). bars: columns from zero.
#: interval: one row per point (a forest plot); y is the row number. reference: a thin grey line without markers.
Kind = Literal["line", "scatter", "step", "bars", "interval", "reference"]


@dataclass(frozen=True, slots=True)
class Axis:
    """`better` says which direction is good; None where neither is. `low` and `high` set the ends; `within` are values that the quantity
    can't leave: the axis ends there even where an interval, which knows no bounds, goes on."""

    title: str
    unit: str = ""
    scale: Scale = "linear"
    better: Literal["lower", "higher"] | None = None
    low: float | None = None
    high: float | None = None
    within: tuple[float, float] | None = None
    rows: tuple[str, ...] = ()  #: labels of the rows of an interval plot


@dataclass(frozen=True, slots=True)
class Point:
    """`low`/`high` bound y (x in interval plots); `x_low`/`x_high` bound x. None where there is no interval."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    x_low: float | None = None
    x_high: float | None = None
    label: str = ""
    mark: float | None = None  #: a second value on the same row, for instance the null band of ECE


@dataclass(frozen=True, slots=True)
class Series:
    """One legend entry. `color` indexes the palette (-1: neutral grey)."""

    label: str
    points: tuple[Point, ...]
    kind: Kind = "line"
    color: int = 0
    quiet: bool = False  #: drawn without legend entry or direct label


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    series: tuple[Series, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One or several panels (small multiples) that share their axes. `description` is the text alternative."""

    title: str
    description: str
    x: Axis
    y: Axis
    panels: tuple[Panel, ...]
    caption: str = ""
    mark: str = ""  #: what `Point.mark` means
    critical: bool = False  #: a critical-difference diagram: methods on a line of mean ranks, series "clique" join those not told apart

    def csv(self) -> str:
        """The data of the figure, one line per point."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["panel", "series", "label", "x", "x_low", "x_high", "y", "low", "high", "mark"])
        for panel in self.panels:
            for series in panel.series:
                for p in series.points:
                    texts = [guard(panel.title), guard(series.label), guard(p.label)]
                    numbers = [p.x, p.x_low, p.x_high, p.y, p.low, p.high, p.mark]
                    writer.writerow(texts + ["" if number is None else repr(float(number)) for number in numbers])
        return out.getvalue()


def guard(text: str) -> str:
    """The text with a leading apostrophe where a spreadsheet would run it as a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
