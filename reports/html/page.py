"""A document as one HTML page. Style and script are inlined; names are escaped; the page makes no request."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files

from reports.document import Block, Cell, Code, Column, Document, Facts, Plot, Row, Section, Table, Text
from reports.html.pack import STATIC, Packer
from reports.plots.svg import svg
from reports.render.clean import printable, short

#: A filter box above fewer rows than this is clutter.
FILTER_FROM = 7

#: The switch of colour schemes; the script shows it.
THEME = '<button type="button" id="theme" hidden>Dark</button>'

#: Facts whose values are all this short are set large, side by side; others as a list.
BIG = 12

#: Cells up to this many characters stay on one line.
SHORT = 34


def asset(name: str) -> str:
    """Text of a file shipped beside this module."""
    return (files("reports.html") / name).read_text(encoding="utf-8")


def render(document: Document, *, nonce: str = "", links: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page. With a `nonce` it goes on the script and style elements and the policy is left to the server's headers.

    `links` are (text, address) of other pages, for the navigation.
    """
    packer = Packer(sum(len(table.rows) for table in document.tables()))
    pages = "".join("".join(_page(section, packer)) for section in document.sections)
    main = f"{pages}{packer.shared()}<footer>{_facts(document.facts)}</footer>"
    return shell(document.title, _sidebar(document, links), main, nonce=nonce)


def shell(title: str, sidebar: str, main: str, *, nonce: str = "", head: str = "") -> str:
    """A whole page around HTML for the sidebar and the main part; style and script are inlined. `head` is more HTML for the head."""
    mark = f' nonce="{nonce}"' if nonce else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{"" if nonce else _policy()}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{_t(title)}</title>\n{head}'
        f'<link rel="icon" href="data:,">\n<style{mark}>{asset("style.css")}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#main">Skip to content</a>\n<header class="side">{sidebar}</header>\n'
        f'<main id="main" tabindex="-1">\n{main}\n</main>\n'
        f"<script{mark}>{asset('app.js')}</script>\n</body>\n</html>\n"
    )


def table_html(table: Table) -> str:
    """One table as HTML, for pages that are not documents."""
    return "".join(_table(table, table.caption, Packer(0)))


def _policy() -> str:
    """No network at all, whatever a name or a browser extension tries."""
    rules = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'


def _t(text: str, longest: int = 160) -> str:
    return escape(short(text, longest))


def _sidebar(document: Document, links: Sequence[tuple[str, str]]) -> str:
    groups: dict[str, list[Section]] = {}
    for section in document.sections:
        groups.setdefault(section.kind, []).append(section)
    out = [f'<p class="brand">Assay</p><p class="subtitle">{_t(document.subtitle)}</p><nav aria-label="Pages">']
    for kind, sections in groups.items():
        if kind:
            out.append(f'<p class="kind">{_t(kind)}</p>')
        out.append("<ul>" + "".join(f'<li><a href="#{escape(one.anchor)}">{_t(one.title, 40)}</a></li>' for one in sections) + "</ul>")
    return "".join(out) + navigation(links) + "</nav>" + THEME


def navigation(links: Sequence[tuple[str, str]]) -> str:
    """Links to other pages, as a list of the sidebar."""
    items = "".join(f'<li><a href="{escape(address)}">{_t(text, 40)}</a></li>' for text, address in links)
    return f'<p class="kind">Live</p><ul>{items}</ul>' if items else ""


def _facts(facts: object) -> str:
    items = dict(facts) if isinstance(facts, dict) else {}
    return " · ".join(f"<span>{_t(name)} {_t(value)}</span>" for name, value in items.items())


def _page(section: Section, packer: Packer) -> Iterator[str]:
    yield f'<section class="page" id="{escape(section.anchor)}" aria-labelledby="{escape(section.anchor)}-h">'
    yield f'<h1 id="{escape(section.anchor)}-h">{_t(section.title)}</h1>'
    yield from _inside(section, 2, packer)
    yield "</section>\n"


def _inside(section: Section, level: int, packer: Packer) -> Iterator[str]:
    if section.summary:
        yield f'<p class="summary">{_t(section.summary, 400)}</p>'
    for block in section.blocks:
        yield from _block(block, section.title, packer)
    if len(section.sections) > 2 and level == 2:
        links = "".join(f'<li><a href="#{escape(one.anchor)}">{_t(one.title, 60)}</a></li>' for one in section.sections)
        yield f'<ul class="contents" aria-label="On this page">{links}</ul>'
    for child in section.sections:
        tag = f"h{min(level, 6)}"
        yield f'<section class="part" id="{escape(child.anchor)}"><{tag}>{_t(child.title)}</{tag}>'
        yield from _inside(child, level + 1, packer)
        yield "</section>"


def _block(block: Block, heading: str, packer: Packer) -> Iterator[str]:
    if isinstance(block, Table):
        yield from _table(block, heading, packer)
    elif isinstance(block, Text):
        yield f'<p class="text {block.tone}">{escape(printable(block.text))}</p>'
    elif isinstance(block, Facts):
        items = "".join(f"<div><dt>{_t(name)}</dt><dd>{_t(value, 400)}</dd></div>" for name, value in block.items)
        long = " list" if any(len(value) > BIG for _, value in block.items) else ""
        yield f'<dl class="facts{long}">{items}</dl>'
    elif isinstance(block, Code):
        text = "\n".join(printable(line) for line in block.text.splitlines())
        yield (
            f'<p class="caption">{_t(block.caption)}</p>' if block.caption else ""
        ) + f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
    elif isinstance(block, Plot):
        yield from _plot(block)


def _plot(block: Plot) -> Iterator[str]:
    figure = block.figure
    data = base64.b64encode(figure.csv().encode()).decode()
    yield f'<figure id="{escape(block.id)}"><h3>{_t(figure.title.partition(":")[0])}</h3>'
    yield f'<div class="canvas" tabindex="0" role="group" aria-label="{_t(figure.title)}">{svg(figure, escape(block.id))}</div>'
    yield f'<figcaption>{escape(figure.caption)} <a class="csv" download="{escape(block.id)}.csv" '
    yield f'href="data:text/csv;charset=utf-8;base64,{data}">CSV</a></figcaption></figure>'


def _table(table: Table, heading: str, packer: Packer) -> Iterator[str]:
    if not table.folded:
        yield from _whole(table, heading, packer)
        return
    if table.unfolded:
        yield from _whole(replace(table, rows=table.rows[: table.unfolded], notes=(), folded=""), heading, packer)
    yield f"<details><summary>{_t(table.folded)}</summary>"
    yield from _whole(_folded_rows(table), table.folded, packer)
    yield f"</details>{_notes(table)}"


def _folded_rows(table: Table) -> Table:
    """The folded rows as a table of their own, without the columns in which they say nothing."""
    rows = table.rows[table.unfolded :]
    kept = [at for at in range(len(table.columns)) if any(row.cells[at].text not in ("", "–") for row in rows)]
    rows = tuple(replace(row, cells=tuple(row.cells[at] for at in kept)) for row in rows)
    columns = tuple(table.columns[at] for at in kept)
    return replace(table, id=f"{table.id}-folded", caption=table.folded, columns=columns, rows=rows, notes=(), folded="")


def _whole(table: Table, heading: str, packer: Packer) -> Iterator[str]:
    ident = escape(table.id)
    spans = _spans(table)
    packed = packer.rest(table, spans) if packer.wants(table) else ""
    shown = table.rows[:STATIC] if packed else table.rows
    yield f'<div class="tablewrap" id="{ident}-wrap">'
    if len(table.rows) >= FILTER_FROM:
        yield (
            f'<div class="tools"><input type="search" class="filter" data-table="{ident}" placeholder="Filter rows" '
            f'aria-label="Filter rows of {_t(table.caption)}" hidden><span class="count" aria-live="polite"></span></div>'
        )
    yield f'<div class="scroll" tabindex="0" role="group" aria-label="{_t(table.caption)}">'
    yield f'<table id="{ident}" data-where="{_data(table.where)}">'
    yield f"<caption{' class=hidden' if table.caption == heading else ''}>{_t(table.caption)}</caption><thead><tr>"
    for column in table.columns:
        yield _head(column)
        if column.key == table.range_column and spans:
            yield '<th scope="col" class="range" aria-hidden="true"></th>'
    yield "</tr></thead><tbody>"
    for row, span in zip(shown, spans or [""] * len(table.rows), strict=False):
        yield from _row(table, row, span, bool(spans))
    yield "</tbody></table></div>"
    if packed:
        yield f'<button type="button" class="all" data-table="{ident}" hidden>Show all {len(table.rows):,} rows</button>{packed}'
        yield f"<noscript><p>The first {len(shown)} of {len(table.rows):,} rows; the others are in data/{ident}.csv.</p></noscript>"
    yield f"{_notes(table)}</div>"


def _notes(table: Table) -> str:
    return f'<div class="notes">{"".join(f"<p>{escape(printable(note))}</p>" for note in table.notes)}</div>' if table.notes else ""


def _head(column: Column) -> str:
    unit = f' <span class="unit">{_t(column.unit)}</span>' if column.unit and column.unit not in column.title else ""
    tip = f' title="{escape(printable(column.doc))}"' if column.doc else ""
    words = _t(column.title, 60).replace("_", "_<wbr>").replace(" ↓", "\u00a0↓").replace(" ↑", "\u00a0↑")
    return f'<th scope="col" class="{_classes(column)}"{tip}>{words}{unit}</th>'


def _row(table: Table, row: Row, span: str, spans: bool) -> Iterator[str]:
    best = ' class="best"' if any(cell.tone == "best" for cell in row.cells) else ""
    trials = f' data-trials="{escape(" ".join(row.trials))}"' if row.trials else ""
    where = f' data-where="{_data(row.where)}"' if row.where else ""
    yield f"<tr{best}{where}{trials}>"
    for column, cell in zip(table.columns, row.cells, strict=True):
        yield _cell(column, cell)
        if column.key == table.range_column and spans:
            yield f'<td class="range" aria-hidden="true">{span}</td>'
    yield "</tr>"


def _classes(column: Column) -> str:
    return column.align + (" pin" if column.key == "method" else "")


def _cell(column: Column, cell: Cell) -> str:
    kind = (
        _classes(column)
        + (" short" if len(cell.text) <= SHORT else "")
        + (" wrap" if column.wrap else "")
        + ("" if cell.tone in ("plain", "best") else f" {cell.tone}")
    )
    sort = f' data-v="{_number(cell.value)}"' if isinstance(cell.value, int | float) else ""
    tip = f' title="{escape(short(cell.note, 400))}"' if cell.note else ""
    text = _t(cell.text, 400 if column.wrap else 96)
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


def _spans(table: Table) -> list[str]:
    """Interval bars of the range column, all on one scale (logarithmic where values span more than a factor of 30)."""
    at = next((number for number, column in enumerate(table.columns) if column.key == table.range_column), None)
    if at is None:
        return []
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
