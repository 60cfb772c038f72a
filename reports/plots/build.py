"""From a ranked board to its figures, by the family's plot specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from reports.curves import Curve
from reports.numbers import formatter
from reports.params import natural
from reports.plots.figure import Axis, Figure, Panel, Point, Series
from reports.plots.specs import FALLBACK, FAMILY_PLOTS, Curves, Intervals, Reliability, TradeOff
from reports.plots.svg import COLORS, MARKERS
from reports.standings import Standing
from reports.stats.distributions import Floats
from reports.stats.intervals import FREE, t_intervals
from reports.stats.pareto import pareto_front

#: More lines than this in one plot can't be followed; the best are kept in colour, the others become a grey background.
MOST_LINES = 10
MOST_PANELS = 12
MOST_ROWS = 40


Palette = Mapping[str, int]


def family_palette(standings: Sequence[Standing]) -> Palette:
    """A colour index per method label and per entry name, no two alike, the same on every board of the family."""
    labels = sorted({entry.label for ranked in standings for entry in ranked.board.entries})
    names = sorted({entry.name for ranked in standings for entry in ranked.board.entries}, key=natural)
    return {name: at for at, name in enumerate(dict.fromkeys([*labels, *names]))}


def apart(wanted: Sequence[int]) -> list[int]:
    """Colour indices of the series of one plot: as wanted where that gives each its own colour, or, beyond as many series as there are
    colours, its own pair of colour and marker."""
    out: list[int] = []
    for color in wanted:
        period = COLORS if len(out) < COLORS else COLORS * len(MARKERS)
        taken = {other % period for other in out}
        while color % period in taken and len(taken) < period:
            color += 1
        out.append(color)
    return out


def figures(standing: Standing, curves: Mapping[str, Curve], palette: Palette | None = None) -> list[Figure]:
    """The figures of a board; never empty when any entry has a result."""
    palette = palette or family_palette([standing])
    if not standing.ranked:
        return []
    out: list[Figure] = []
    for spec in FAMILY_PLOTS.get(standing.board.family, FALLBACK):
        made: Figure | None
        if isinstance(spec, TradeOff):
            made = _trade_off(standing, spec, palette) if all(name in standing.board.metrics for name in spec.needs) else None
        elif isinstance(spec, Curves):
            made = _curves(standing, spec, curves[spec.metric], palette) if spec.metric in curves else None
        elif isinstance(spec, Reliability):
            made = _reliability(standing, spec, curves) if all(name in curves for name in spec.needs) else None
        else:
            made = _intervals(standing, spec) if all(name in standing.board.metrics for name in spec.needs) else None
        if made is not None:
            out.append(made)
    return out or [_intervals(standing, Intervals())]


def _better(direction: str) -> Literal["lower", "higher"] | None:
    return "lower" if direction == "lower" else "higher" if direction == "higher" else None


def undominated(standing: Standing, spec: TradeOff) -> list[int]:
    """Entries that no other beats in the means of both metrics, in ascending order of x; empty where a metric has no direction."""
    board = standing.board
    if any(name not in board.metrics or board.metrics[name].direction == "none" for name in spec.needs):
        return []
    means = np.stack([standing.secondary(name).mean for name in spec.needs], axis=1)
    signs = np.array([-1.0 if board.metrics[name].direction == "higher" else 1.0 for name in spec.needs])
    known = np.flatnonzero(np.isfinite(means).all(axis=1))
    if not len(known):
        return []
    return sorted((int(known[at]) for at in pareto_front(means[known] * signs)), key=lambda at: float(means[at, 0]))


def _trade_off(standing: Standing, spec: TradeOff, palette: Palette) -> Figure | None:
    board = standing.board
    x_metric, y_metric = board.metrics[spec.x], board.metrics[spec.y]
    x, y = standing.secondary(spec.x), standing.secondary(spec.y)
    points: dict[int, Point] = {}
    for at, entry in enumerate(board.entries):
        if np.isfinite(x.mean[at]) and np.isfinite(y.mean[at]):
            low, high, x_low, x_high = (float(v) if np.isfinite(v) else None for v in (y.low[at], y.high[at], x.low[at], x.high[at]))
            points[at] = Point(float(x.mean[at]), float(y.mean[at]), low, high, x_low, x_high, entry.short)
    ends = [value for p in points.values() for value in (p.x, p.y)]
    if not points or (spec.diagonal and min(ends) <= 0):
        return None
    series = []
    labels = list(dict.fromkeys(board.entries[at].label for at in standing.order if at in points))
    for label, color in zip(labels, apart([palette[label] for label in labels]), strict=True):
        mine = tuple(points[at] for at in sorted(points) if board.entries[at].label == label)
        series.append(Series(label, mine, "scatter", color))
    if spec.diagonal:
        line = tuple(Point(end, end) for end in (min(ends), max(ends)))
        series.append(Series("equal", line, "reference", -1, quiet=True))
    front = undominated(standing, spec)
    steps = [points[at] for at in front]
    if len(steps) > 1:
        drawn = steps[::-1] if x_metric.direction == "higher" else steps
        series.append(Series("front of the means", tuple(Point(p.x, p.y, label=p.label) for p in drawn), "step", -1))
    names = ", ".join(board.entries[at].name for at in front[:8]) or "not defined"
    title = spec.title or f"{y_metric.id} against {x_metric.id}"
    return Figure(
        f"{title}: {board.name}",
        f"Scatter plot of {y_metric.id} against {x_metric.id} for {len(points)} configurations. Undominated: {names}.",
        Axis(x_metric.id, x_metric.unit, spec.x_scale, _better(x_metric.direction), within=spec.within),
        Axis(y_metric.id, y_metric.unit, spec.y_scale, _better(y_metric.direction), within=spec.within),
        (Panel("", tuple(series)),),
        "Means over seeds; whiskers are 95 % intervals."
        + (" The line joins the configurations that no other beats in both metrics." if len(steps) > 1 else "")
        + (" On the grey line both are equal." if spec.diagonal else ""),
    )


def _curves(standing: Standing, spec: Curves, curve: Curve, palette: Palette) -> Figure | None:
    board = standing.board
    measured = [at for at in standing.order if not np.isnan(curve.values[at]).all()]
    if not measured:
        return None
    series = []
    metric = board.series.get(spec.metric)
    bounds = metric.bounds if metric else FREE
    colors = apart([palette[board.entries[at].name] for at in measured[:MOST_LINES]])
    for number, at in enumerate(measured):
        table = t_intervals(curve.values[at].T, bounds=bounds)
        points = tuple(
            Point(float(step), float(mean), *((float(low), float(high)) if np.isfinite(low) else (None, None)))
            for step, mean, low, high in zip(curve.steps, table.mean, table.low, table.high, strict=True)
            if np.isfinite(mean)
        )
        if spec.x_scale == "log":
            points = tuple(point for point in points if point.x > 0)
        loud = number < MOST_LINES
        series.append(Series(board.entries[at].name, points, "line", colors[number] if loud else -1, quiet=not loud))
    left_out = len(measured) - min(len(measured), MOST_LINES)
    caption = "Mean over seeds with 95 % interval" + (f"; the {left_out} methods that rank lower are grey." if left_out else ".")
    best, worst = board.entries[measured[0]].name, board.entries[measured[-1]].name
    return Figure(
        f"{spec.title or spec.metric}: {board.name}",
        f"Line plot of {spec.y_title} over {spec.x_title} for {len(measured)} configurations; ranked first {best}, last {worst}.",
        Axis(spec.x_title, "", spec.x_scale),
        Axis(spec.y_title, metric.unit if metric else "", "linear" if ends_below_zero(series) else spec.y_scale, within=spec.within),
        (Panel("", tuple(series)),),
        caption,
    )


def ends_below_zero(series: list[Series]) -> bool:
    """Whether a line ends where a logarithmic axis has no place for it: regret against a fixed comparator may."""
    return any(one.points[-1].y < 0 for one in series if one.points and not one.quiet)


def _reliability(standing: Standing, spec: Reliability, curves: Mapping[str, Curve]) -> Figure | None:
    board = standing.board
    bins = curves[spec.needs[2]].steps  # the counts: a bin that no seed filled has no accuracy and no confidence
    accuracy, confidence, count = (_at_steps(curves[name], bins) for name in spec.needs)
    score = standing.secondary(spec.score).mean if spec.score in board.metrics else None
    panels = []
    for at in standing.order[:MOST_PANELS]:
        weight = np.nan_to_num(count[at])
        total = weight.sum(axis=0)
        if total.sum() == 0:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            acc = np.nansum(accuracy[at] * weight, axis=0) / total
            conf = np.nansum(confidence[at] * weight, axis=0) / total
        full = [bin for bin in range(len(total)) if total[bin] > 0]
        line = tuple(Point(float(conf[bin]), float(acc[bin]), label=f"{int(total[bin])} examples") for bin in full)
        centre = (np.arange(len(total)) + 0.5) / len(total)
        bars = tuple(Point(float(centre[bin]), float(total[bin] / total.sum()), label="share of examples") for bin in full)
        note = "" if score is None or np.isnan(score[at]) else f"{spec.score} {score[at]:.3f}"
        panels.append(
            Panel(
                board.entries[at].name,
                (
                    Series("examples", bars, "bars", -1, quiet=True),
                    Series("perfect", (Point(0.0, 0.0), Point(1.0, 1.0)), "reference", -1, quiet=True),
                    Series(board.entries[at].name, line, "line", 0),
                ),
                note,
            )
        )
    if not panels:
        return None
    return Figure(
        f"Reliability: {board.name}",
        f"Reliability diagrams of {len(panels)} configurations: accuracy against confidence in equal-width bins; a calibrated model lies "
        "on the diagonal, an overconfident one below it.",
        Axis("confidence", low=0.0, high=1.0),
        Axis("accuracy", low=0.0, high=1.0),
        tuple(panels),
        "Bins pooled over seeds. Bars: share of the examples in each bin. Below the diagonal: overconfident.",
    )


def _at_steps(curve: Curve, steps: Floats) -> Floats:
    """The curve's values at these steps; NaN where it has none."""
    values = np.full((*curve.values.shape[:2], len(steps)), np.nan)
    known = np.isin(curve.steps, steps)
    values[..., np.searchsorted(steps, curve.steps[known])] = curve.values[..., known]
    return values


def _intervals(standing: Standing, spec: Intervals) -> Figure:
    board = standing.board
    metric = board.metrics[spec.metric or standing.metric.id]
    table = standing.secondary(metric.id)
    null = standing.secondary(spec.null).mean if spec.null else None
    shown = [at for at in standing.ranked if np.isfinite(table.mean[at])][:MOST_ROWS]
    write = formatter(table.mean, (table.high - table.low) / 2)
    points = []
    for row, at in enumerate(shown):
        low, high = (float(v) if np.isfinite(v) else None for v in (table.low[at], table.high[at]))
        mark = float(null[at]) if null is not None and np.isfinite(null[at]) else None
        text = f"{board.entries[at].name}: {write(float(table.mean[at]))}"
        if low is not None and high is not None:
            text += f" [{write(low)}, {write(high)}]"
        points.append(Point(float(table.mean[at]), float(row), x_low=low, x_high=high, label=text, mark=mark))
    hidden = len(standing.ranked) - len(shown)
    caption = f"Mean and 95 % interval over seeds{f'; {hidden} more methods are in the table' if hidden else ''}."
    if spec.null_title:
        caption += f" {spec.null_title[0].upper()}{spec.null_title[1:]}."
    first = board.entries[shown[0]].name if shown else "nothing"
    return Figure(
        f"{metric.id} with intervals: {board.name}",
        f"Interval plot of {metric.id} for {len(shown)} configurations, ranked; first is {first}.",
        Axis(metric.id, metric.unit, "linear", _better(metric.direction), low=0.0 if spec.null else None),
        Axis("", rows=tuple(board.entries[at].name for at in shown)),
        (Panel("", (Series(metric.id, tuple(points), "interval", 0),)),),
        caption,
        spec.null_title,
    )
