"""Figures as inline SVG. Colours and fonts come from the page's style sheet (classes), so both colour schemes and print work.

Series differ by the pair of colour and marker (64 pairs) and carry their names at the line's end: nothing depends on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from reports.plots import critical
from reports.plots.figure import Figure, Panel, Point, Series
from reports.plots.scales import Scale, scale, tick_text
from reports.render.clean import short

WIDTH, HEIGHT = 860, 400
TOP, BOTTOM, LEFT, LABELS = 14, 46, 62, 280
ROW = 22  #: height of a row of an interval plot
COLORS = 8
LABEL_GAP = 14.5
MOST_MARKERS = 24  #: per line; longer ones have a marker at some of their points
_PLUS: tuple[tuple[float, float], ...] = (
    (-0.4, -1.15),
    (0.4, -1.15),
    (0.4, -0.4),
    (1.15, -0.4),
    (1.15, 0.4),
    (0.4, 0.4),
    (0.4, 1.15),
    (-0.4, 1.15),
    (-0.4, 0.4),
)
_PLUS += ((-1.15, 0.4), (-1.15, -0.4), (-0.4, -0.4))
#: Corners of the markers in units of their radius; empty: a circle.
MARKERS: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
    ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    _PLUS,
    ((0, 1.2), (1.1, -0.9), (-1.1, -0.9)),
    tuple((0.707 * (a - b), 0.707 * (a + b)) for a, b in _PLUS),
    ((-0.6, -1.0), (0.6, -1.0), (1.2, 0), (0.6, 1.0), (-0.6, 1.0), (-1.2, 0)),
)


def svg(figure: Figure, ident: str) -> str:
    """The figure as one <svg> element. `ident` is unique in the page."""
    if figure.critical:
        body, width, height = critical.draw(figure, WIDTH)
    elif len(figure.panels) > 1:
        body, width, height = _multiples(figure)
    elif figure.y.rows:
        body, width, height = _forest(figure)
    else:
        body, width, height = _single(figure)
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d"><title id="{ident}-t">{escape(short(figure.title, 200))}</title>'
        f'<desc id="{ident}-d">{escape(short(figure.description, 1000))}</desc>{"".join(body)}</svg>'
    )


def _single(figure: Figure) -> tuple[list[str], int, int]:
    panel = figure.panels[0]
    named = [series for series in panel.series if not series.quiet]
    right = WIDTH - (LABELS if named else 16)
    x, y = _scales(figure, [panel], (LEFT, right), (HEIGHT - BOTTOM, TOP))
    body = [*_frame(figure, x, y), *_drawn(panel, x, y)]
    body += _labels(named, x, y, right)
    return body, WIDTH, max(HEIGHT, int(TOP + LABEL_GAP * len(named) + 10))


def _scales(figure: Figure, panels: list[Panel], xs: tuple[float, float], ys: tuple[float, float], ticks: int = 6) -> tuple[Scale, Scale]:
    points = [point for panel in panels for series in panel.series if series.kind != "reference" for point in series.points]
    all_x = [v for p in points for v in (p.x, p.x_low, p.x_high) if v is not None]
    all_y = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    if figure.y.scale == "log":  # a band that reaches zero must not stretch the axis over many empty decades
        all_y = [p.y for p in points] + [p.high for p in points if p.high is not None]
    return scale(figure.x, all_x, *xs, ticks), scale(figure.y, all_y, *ys, ticks)


def _frame(figure: Figure, x: Scale, y: Scale, titles: bool = True) -> Iterator[str]:
    for tick in y.ticks:
        at = y(tick)
        yield f'<line class="grid" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text class="tick" x="{x.start - 8:.1f}" y="{at + 3.8:.1f}" text-anchor="end">{tick_text(tick)}</text>'
    for tick in x.ticks:
        at = x(tick)
        yield f'<line class="tickmark" x1="{at:.1f}" x2="{at:.1f}" y1="{y.start:.1f}" y2="{y.start + 4:.1f}"/>'
        yield f'<text class="tick" x="{at:.1f}" y="{y.start + 17:.1f}" text-anchor="middle">{tick_text(tick)}</text>'
    yield f'<line class="axis" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{y.start:.1f}" y2="{y.start:.1f}"/>'
    if titles:
        middle = (x.start + x.end) / 2
        yield f'<text class="axis-title" x="{middle:.1f}" y="{y.start + 37:.1f}" text-anchor="middle">{_title(figure, "x")}</text>'
        yield (
            f'<text class="axis-title" transform="translate(14 {(y.start + y.end) / 2:.1f}) rotate(-90)" text-anchor="middle">'
            f"{_title(figure, 'y')}</text>"
        )


def _title(figure: Figure, which: str) -> str:
    axis = figure.x if which == "x" else figure.y
    title = axis.title if not axis.unit or axis.unit in axis.title else f"{axis.title} ({axis.unit})"
    better = {None: "", "lower": "← better", "higher": "better →"}[axis.better]
    return escape(short(title, 60)) + (f' <tspan class="better">  {better}</tspan>' if better else "")


def _drawn(panel: Panel, x: Scale, y: Scale) -> Iterator[str]:
    order = {"bars": 0, "reference": 1, "step": 2, "line": 3, "scatter": 4}
    for series in sorted(panel.series, key=lambda one: (order.get(one.kind, 9), not one.quiet)):
        yield f'<g class="series {_classes(series)}" data-series="{escape(short(series.label))}">'
        yield from _series(series, x, y)
        yield "</g>"


def _classes(series: Series) -> str:
    dash = "" if series.color < COLORS else f" d{(series.color // COLORS) % 3}"
    return ("neutral" if series.color < 0 else f"c{series.color % COLORS}{dash}") + (" quiet" if series.quiet else "")


def _series(series: Series, x: Scale, y: Scale) -> Iterator[str]:
    points = [p for p in series.points if math.isfinite(p.x) and math.isfinite(p.y)]
    if not points:
        return
    if series.kind == "bars":
        width = max(1.0, 0.9 * (x(1 / 15) - x(0)))
        for p in points:
            top = y(p.y)
            yield (
                f'<rect class="bar" x="{x(p.x) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{max(0.0, y.start - top):.1f}">'
                f"<title>{_tip(series, p)}</title></rect>"
            )
    elif series.kind in ("line", "reference"):
        band = [p for p in points if p.low is not None and p.high is not None]
        if len(band) > 1:
            upper = " ".join(f"{x(p.x):.1f},{y(p.high or 0.0):.1f}" for p in band)
            lower = " ".join(f"{x(p.x):.1f},{y(p.low or 0.0):.1f}" for p in reversed(band))
            yield f'<polygon class="band" points="{upper} {lower}"/>'
        yield f'<polyline class="{series.kind}" points="{" ".join(f"{x(p.x):.1f},{y(p.y):.1f}" for p in points)}"/>'
        if series.kind == "line" and not series.quiet:
            yield from (_marker(series, p, x, y, 3.2) for p in points[:: math.ceil(len(points) / MOST_MARKERS)])
    elif series.kind == "step":
        path = f"M{x(points[0].x):.1f},{y(points[0].y):.1f}" + "".join(f"H{x(p.x):.1f}V{y(p.y):.1f}" for p in points[1:])
        yield f'<path class="front" d="{path}"/>'
    elif series.kind == "scatter":
        if len(points) > 1:  # the params of one method, as a trajectory
            path = " ".join(f"{x(p.x):.1f},{y(p.y):.1f}" for p in sorted(points, key=lambda p: p.x))
            yield f'<polyline class="thread" points="{path}"/>'
        for p in points:
            if p.low is not None and p.high is not None:
                yield f'<line class="whisker" x1="{x(p.x):.1f}" x2="{x(p.x):.1f}" y1="{y(p.low):.1f}" y2="{y(p.high):.1f}"/>'
            if p.x_low is not None and p.x_high is not None and p.x_high > p.x_low:
                yield f'<line class="whisker" x1="{x(p.x_low):.1f}" x2="{x(p.x_high):.1f}" y1="{y(p.y):.1f}" y2="{y(p.y):.1f}"/>'
            yield _marker(series, p, x, y, 4.6)


def _tip(series: Series, p: Point) -> str:
    value = f"x {p.x:.5g}, y {p.y:.5g}"
    if p.low is not None and p.high is not None:
        value += f" [{p.low:.5g}, {p.high:.5g}]"
    return escape(short(f"{series.label} {p.label}".strip())) + ": " + value


def _marker(series: Series, p: Point, x: Scale, y: Scale, r: float) -> str:
    return f'<path class="marker" d="{shape(series.color, x(p.x), y(p.y), r)}"><title>{_tip(series, p)}</title></path>'


def shape(color: int, cx: float, cy: float, r: float) -> str:
    """Path of the marker that goes with a colour index, about `r` pixels around (cx, cy)."""
    corners = MARKERS[(color + color // COLORS) % len(MARKERS)] if color >= 0 else ()  # shifted by one each time the colours repeat
    if not corners:
        return f"M{cx - r:.1f},{cy:.1f}a{r},{r} 0 1,0 {2 * r},0a{r},{r} 0 1,0 {-2 * r},0Z"
    return "M" + "L".join(f"{cx + a * r:.1f},{cy + b * r:.1f}" for a, b in corners) + "Z"


def _labels(named: list[Series], x: Scale, y: Scale, right: float) -> Iterator[str]:
    """Series names beside the plot, as near to the line's end as the others allow."""
    lines = all(series.kind == "line" for series in named)
    wanted = [y(series.points[-1].y) if lines and series.points else TOP + 6 + at * (LABEL_GAP + 4) for at, series in enumerate(named)]
    for series, want, at in zip(named, wanted, spread(wanted, LABEL_GAP, TOP + 4, y.start), strict=True):
        yield f'<g class="label {_classes(series)}" data-series="{escape(short(series.label))}">'
        if lines and series.points:
            yield f'<path class="leader" d="M{x(series.points[-1].x) + 5:.1f},{want:.1f}L{right + 9:.1f},{at:.1f}"/>'
        if series.kind == "step":
            yield f'<path class="front" d="M{right + 12:.1f},{at:.1f}h14"/>'
        elif series.kind != "reference":
            if series.kind == "line":
                yield f'<path class="line" d="M{right + 9:.1f},{at:.1f}h20"/>'
            yield f'<path class="marker" d="{shape(series.color, right + 19, at, 4)}"/>'
        yield f'<text x="{right + 33:.1f}" y="{at + 4:.1f}">{escape(short(series.label, 36))}</text></g>'


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Positions in the order of `wanted`, at least `gap` apart, as near to it as a downward and an upward sweep make them."""
    order = sorted(range(len(wanted)), key=lambda at: wanted[at])
    placed = [0.0] * len(wanted)
    last = low - gap
    for at in order:
        last = placed[at] = max(wanted[at], last + gap)
    last = max(high, low + gap * (len(wanted) - 1)) + gap
    for at in reversed(order):
        last = placed[at] = min(placed[at], last - gap)
    return placed


def _multiples(figure: Figure) -> tuple[list[str], int, int]:
    columns = min(4, len(figure.panels))
    gap, side, head, foot, left = 38, 160, 36, 32, 48
    rows = math.ceil(len(figure.panels) / columns)
    width, height = left + columns * (side + gap) - gap + 12, rows * (side + head + foot) + 22
    body: list[str] = []
    for at, panel in enumerate(figure.panels):
        column, row = at % columns, at // columns
        x0, y0 = left + column * (side + gap), row * (side + head + foot) + head
        x, y = _scales(figure, list(figure.panels), (x0, x0 + side), (y0 + side, y0), 3)
        body += _frame(figure, x, y, titles=False)
        body.append(f'<text class="panel-title" x="{x0}" y="{y0 - 19}">{escape(short(panel.title, 22))}</text>')
        body.append(f'<text class="panel-note" x="{x0}" y="{y0 - 6}">{escape(short(panel.note, 40))}</text>')
        body += _drawn(panel, x, y)
    middle = left + (columns * (side + gap) - gap) / 2
    body.append(f'<text class="axis-title" x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{_title(figure, "x")}</text>')
    body.append(
        f'<text class="axis-title" transform="translate(12 {height / 2:.0f}) rotate(-90)" text-anchor="middle">{_title(figure, "y")}</text>'
    )
    return body, width, height


def _forest(figure: Figure) -> tuple[list[str], int, int]:
    panel = figure.panels[0]
    names = figure.y.rows
    left = min(280, 24 + int(6.6 * max(len(short(name, 40)) for name in names)))
    height = TOP + ROW * len(names) + BOTTOM
    points = [point for series in panel.series for point in series.points]
    values = [v for p in points for v in (p.x, p.x_low, p.x_high, p.mark) if v is not None]
    x = scale(figure.x, values, left, WIDTH - 20)
    bottom = TOP + ROW * len(names)
    body: list[str] = []
    for tick in x.ticks:
        body.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{bottom}"/>')
        body.append(f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 17}" text-anchor="middle">{tick_text(tick)}</text>')
    for row, name in enumerate(names):
        at = TOP + ROW * (row + 0.5)
        body.append(f'<text class="row" x="{left - 12}" y="{at + 4:.1f}" text-anchor="end">{escape(short(name, 40))}</text>')
    for series in panel.series:
        body.append(f'<g class="series {_classes(series)}">')
        for p in series.points:
            at = TOP + ROW * (p.y + 0.5)
            if p.mark is not None:
                body.append(
                    f'<rect class="null" x="{x.start:.1f}" y="{at - 7:.1f}" width="{max(0.0, x(p.mark) - x.start):.1f}" height="14"/>'
                )
            if p.x_low is not None and p.x_high is not None:
                body.append(f'<line class="whisker" x1="{x(p.x_low):.1f}" x2="{x(p.x_high):.1f}" y1="{at:.1f}" y2="{at:.1f}"/>')
            body.append(f'<path class="marker" d="{shape(0, x(p.x), at, 4.4)}"><title>{escape(short(p.label, 200))}</title></path>')
        body.append("</g>")
    middle = (x.start + x.end) / 2
    body.append(f'<text class="axis-title" x="{middle:.1f}" y="{bottom + 37}" text-anchor="middle">{_title(figure, "x")}</text>')
    return body, WIDTH, height
