"""The critical-difference diagram (Demšar 2006): mean ranks on a line, bars join methods that can't be told apart."""

from __future__ import annotations

from html import escape

from reports.plots.figure import Figure
from reports.plots.scales import scale, tick_text
from reports.render.clean import short

SIDE, GAP, BAR = 228, 20, 11


def draw(figure: Figure, width: int) -> tuple[list[str], int, int]:
    """SVG parts, width and height."""
    points = sorted(figure.panels[0].series[0].points, key=lambda p: p.x)
    cliques = [series.points for series in figure.panels[0].series[1:] if series.label == "clique"]
    low, high = 1.0, max(2.0, float(len(points)))
    x = scale(figure.x, [low, high], SIDE, width - SIDE, 9)
    axis = 44
    names = axis + 18 + BAR * max(1, len(cliques))
    half = (len(points) + 1) // 2
    height = int(names + GAP * half + 14)
    body = [f'<line class="axis" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{axis}" y2="{axis}"/>']
    for tick in x.ticks:
        body.append(f'<line class="tickmark" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{axis - 5}" y2="{axis}"/>')
        body.append(f'<text class="tick" x="{x(tick):.1f}" y="{axis - 10}" text-anchor="middle">{tick_text(tick)}</text>')
    middle = (x.start + x.end) / 2
    body.append(f'<text class="axis-title" x="{middle:.1f}" y="14" text-anchor="middle">{escape(figure.x.title)}</text>')
    for row, points_of in enumerate(cliques):
        at = axis + 11 + BAR * row
        body.append(f'<line class="clique" x1="{x(points_of[0].x) - 4:.1f}" x2="{x(points_of[-1].x) + 4:.1f}" y1="{at}" y2="{at}"/>')
    for number, point in enumerate(points):
        left = number < half
        row = number if left else len(points) - 1 - number
        at = names + GAP * row + 8
        edge, anchor, text = (x.start - 14, "end", x.start - 20) if left else (x.end + 14, "start", x.end + 20)
        body.append(f'<path class="leader strong" d="M{x(point.x):.1f},{axis}V{at:.1f}H{edge:.1f}"/>')
        body.append(
            f'<text x="{text:.1f}" y="{at + 4:.1f}" text-anchor="{anchor}">{escape(short(point.label, 24))}'
            f'<tspan class="better"> {point.x:.2f}</tspan></text>'
        )
    return body, width, height
