"""Tables as HTML: sortable, filterable, each measured cell a button that shows its SQL and trials, intervals as bars on one scale."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape

from reports.document import Cell, Column, Row, Table, dense
from reports.html.pack import STATIC, Packer
from reports.render.clean import printable, short

#: A filter box above fewer rows than this is clutter.
FILTER_FROM = 7

#: Cells up to this many characters stay on one line; sentences are broken at about so many at the least.
SHORT, WRAPPED = 34, 24

#: In pixels: the width of the main part in a window of 1,400, a letter of a table, the gap between columns, the column of interval bars.
ROOM, LETTER, GAP, RANGE = 1056, 7.4, 14, 190


def safe(text: str, longest: int = 160) -> str:
    """A name or sentence on one line, escaped, without control characters, cut in the middle when too long."""
    return escape(short(text, longest))


def table_html(block: Table) -> str:
    """One table as HTML, for pages that are not documents."""
    return "".join(table(block, block.caption, Packer(0)))


def table(block: Table, heading: str, packer: Packer) -> Iterator[str]:
    """The table with its tools and notes; rows that the document folds away are in a second one. `heading`: what stands above it."""
    if not block.folded:
        yield from _whole(block, heading, packer)
        return
    if block.unfolded:
        yield from _whole(replace(block, rows=block.rows[: block.unfolded], notes=(), folded=""), heading, packer)
    yield f"<details><summary>{safe(block.folded)}</summary>"
    yield from _whole(_folded_rows(block), block.folded, packer)
    yield f"</details>{_notes(block)}"


def _folded_rows(table: Table) -> Table:
    """The folded rows as a table of their own, without the columns in which they say nothing."""
    rows = table.rows[table.unfolded :]
    return dense(replace(table, id=f"{table.id}-folded", caption=table.folded, rows=rows, notes=(), folded=""))


def _whole(table: Table, heading: str, packer: Packer) -> Iterator[str]:
    ident = escape(table.id)
    spans = _spans(table)
    packed = packer.rest(table, spans) if packer.wants(table) else ""
    shown = table.rows[:STATIC] if packed else table.rows
    more = _too_wide(table, bool(spans))
    tools = ""
    if len(table.rows) >= FILTER_FROM:
        tools += (
            f'<input type="search" class="filter" data-table="{ident}" placeholder="Filter rows" '
            f'aria-label="Filter rows of {safe(table.caption)}" hidden><span class="count" aria-live="polite"></span>'
        )
    if more:
        names = ", ".join(table.columns[at].title for at in more)
        tools += f'<button type="button" class="columns" data-table="{ident}" aria-pressed="false" title="{safe(names, 400)}" hidden>'
        tools += f"{len(more)} more {'column' if len(more) == 1 else 'columns'}</button>"
    tools = f'<div class="tools">{tools}</div>' if tools else ""
    yield f'<div class="tablewrap" id="{ident}-wrap">{tools}'
    options = f' data-options="{_data(table.options)}"' if table.options else ""
    yield f'<div class="scroll" tabindex="0" role="group" aria-label="{safe(table.caption)}">'
    yield f'<table id="{ident}" data-where="{_data(table.where)}"{options}>'
    yield f"<caption{' class=hidden' if table.caption == heading else ''}>{safe(table.caption)}</caption><thead><tr>"
    kinds = [_classes(column) + (" more" if at in more else "") for at, column in enumerate(table.columns)]
    ranged = _ranged(table) if spans else None
    for column, kind in zip(table.columns, kinds, strict=True):
        yield _head(column, kind)
        if column is ranged:
            yield '<th scope="col" class="range" aria-hidden="true"></th>'
    yield "</tr></thead><tbody>"
    for row, span in zip(shown, spans or [""] * len(table.rows), strict=False):
        yield from _row(table, row, span, ranged, kinds, packer)
    yield "</tbody></table></div>"
    if packed:
        yield f'<button type="button" class="all" data-table="{ident}" hidden>Show all {len(table.rows):,} rows</button>{packed}'
        yield f"<noscript><p>The first {len(shown)} of {len(table.rows):,} rows; the others are in data/{ident}.csv.</p></noscript>"
    yield f"{_notes(table)}</div>"


def _too_wide(table: Table, spans: bool) -> frozenset[int]:
    """The columns, by index, that a page of usual width has no room for: those that a narrow terminal leaves out first, too."""
    widths = [_width(column, [row.cells[at].text for row in table.rows]) for at, column in enumerate(table.columns)]
    room = ROOM - (RANGE if spans else 0)
    out: set[int] = set()
    while sum(width for at, width in enumerate(widths) if at not in out) > room:
        spare = [at for at in range(1, len(widths)) if table.columns[at].spare > 1 and at not in out]
        if not spare:
            break
        out.add(max(spare, key=lambda at: (table.columns[at].spare, at)))
    return frozenset(out)


def _width(column: Column, texts: Sequence[str]) -> float:
    """About how many pixels a column takes. Headers break at spaces and after underscores, sentences anywhere between words."""
    head = max(len(part) for part in re.split(r"[ _]", f"{column.title} ({column.unit})" if column.unit else column.title)) + 1
    body = max(map(len, texts), default=0)
    if column.align == "left":
        body = min(body, WRAPPED if column.wrap else SHORT)
    return GAP + LETTER * max(head, body)


def _notes(table: Table) -> str:
    return f'<div class="notes">{"".join(f"<p>{escape(printable(note))}</p>" for note in table.notes)}</div>' if table.notes else ""


def _head(column: Column, kind: str) -> str:
    unit = f' <span class="unit">{safe(column.unit)}</span>' if column.unit and column.unit not in column.title else ""
    tip = f' title="{escape(printable(column.doc))}"' if column.doc else ""
    words = safe(column.title, 60).replace("_", "_<wbr>").replace(" ↓", "\u00a0↓").replace(" ↑", "\u00a0↑")
    return f'<th scope="col" class="{kind}"{tip}>{words}{unit}</th>'


def _row(table: Table, row: Row, span: str, ranged: Column | None, kinds: Sequence[str], packer: Packer) -> Iterator[str]:
    best = ' class="best"' if any(cell.tone == "best" for cell in row.cells) else ""
    trials = f' data-t="{packer.trials(row.trials)}"' if row.trials else ""
    where = f' data-w="{packer.condition(row.where)}"' if row.where else ""
    yield f"<tr{best}{where}{trials}>"
    for column, kind, cell in zip(table.columns, kinds, row.cells, strict=True):
        yield _cell(column, kind, cell)
        if column is ranged:
            yield f'<td class="range" aria-hidden="true">{span}</td>'
    yield "</tr>"


def _classes(column: Column) -> str:
    return column.align + (" pin" if column.key == "method" else "")


def _cell(column: Column, kind: str, cell: Cell) -> str:
    kind += (
        (" short" if len(cell.text) <= SHORT else "")
        + (" wrap" if column.wrap else "")
        + ("" if cell.tone in ("plain", "best") else f" {cell.tone}")
    )
    sort = f' data-v="{_number(cell.value)}"' if isinstance(cell.value, int | float) else ""
    tip = f' title="{escape(short(cell.note, 400))}"' if cell.note else ""
    text = safe(cell.text, 400 if column.wrap else 96)
    if cell.id:
        bounds = "" if cell.low is None or cell.high is None else f' title="95 % interval {cell.low:.5g} to {cell.high:.5g}"'
        text = f'<button type="button" data-id="{cell.id}" data-metric="{_data(cell.metric)}"{bounds}>{text}</button>'
    elif cell.href:
        text = f'<a href="{escape(cell.href)}">{text}</a>'
    return f'<td class="{kind}"{sort}{tip}>{text}</td>'


def _data(text: str) -> str:
    """Text for a script to read exactly, in ASCII: names may hold characters that a page must not contain."""
    return escape(json.dumps(text)[1:-1])


def _number(value: float | int) -> str:
    return f"{value:.10g}" if math.isfinite(value) else ""


def _ranged(table: Table) -> Column | None:
    """The column whose intervals are drawn; another one (a metric called mean) may have the same key."""
    return next((column for column in table.columns if column.key == table.range_column), None)


def _spans(table: Table) -> list[str]:
    """Interval bars of the range column, all on one scale (logarithmic where values span more than a factor of 30)."""
    ranged = _ranged(table)
    if ranged is None:
        return []
    at = next(number for number, column in enumerate(table.columns) if column is ranged)
    cells = [row.cells[at] for row in table.rows]
    known = [v for cell in cells for v in (cell.value, cell.low, cell.high) if isinstance(v, int | float) and math.isfinite(v)]
    if len({round(v, 12) for v in known}) < 2:
        return []
    means = [cell.value for cell in cells if isinstance(cell.value, int | float)]
    low, high = min(known), max(known)
    log = min(means) > 0 and max(means) / min(means) > 30
    if log:
        low, high = math.log(min(means) / 1.3), math.log(max(high, max(means)))

    def place(value: float) -> float:
        if log:
            value = math.log(value) if value > math.exp(low) else low
        return round(100 * (value - low) / (high - low), 1)

    spans = []
    for cell in cells:
        if not isinstance(cell.value, int | float):
            spans.append("")
            continue
        middle = place(cell.value)
        left, right = (place(cell.low), place(cell.high)) if cell.low is not None and cell.high is not None else (middle, middle)
        spans.append(f'<span class="ci" style="--l:{left:g}%;--w:{right - left:.1f}%;--m:{middle:g}%"><i></i><b></b></span>')
    return spans
