"""A document as one HTML page. Style and script are inlined; names are escaped; the page makes no request."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from reports.document import Block, Code, Document, Facts, Plot, Section, Table, Text
from reports.html.pack import Packer
from reports.html.tables import safe, table
from reports.plots.svg import svg
from reports.render.clean import printable

#: The switch of colour schemes; the script shows it.
THEME = '<button type="button" id="theme" hidden>Dark</button>'

#: Facts whose values are all this short are set large, side by side; others as a list.
BIG = 12


def asset(name: str) -> str:
    """Text of a file shipped beside this module."""
    return (files("reports.html") / name).read_text(encoding="utf-8")


def render(document: Document, *, nonce: str = "", links: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page. With a `nonce` it goes on the script and style elements and the policy is left to the server's headers.

    `links` are (text, address) of other pages, for the navigation.
    """
    packer = Packer(sum(len(table.rows) for table in document.tables()))
    pages = "".join("".join(_pages(section, packer)) for section in document.sections)
    main = f"{pages}{packer.shared()}<footer>{_facts(document.facts)}</footer>"
    return shell(document.title, _sidebar(document, links), main, nonce=nonce)


def shell(title: str, sidebar: str, main: str, *, nonce: str = "", head: str = "") -> str:
    """A whole page around HTML for the sidebar and the main part; style and script are inlined. `head` is more HTML for the head."""
    mark = f' nonce="{nonce}"' if nonce else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{"" if nonce else _policy()}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{safe(title)}</title>\n{head}'
        f'<link rel="icon" href="data:,">\n<style{mark}>{asset("style.css")}</style>\n</head>\n<body>\n'
        f'<a class="skip" href="#main">Skip to content</a>\n<header class="side">{sidebar}</header>\n'
        f'<main id="main" tabindex="-1">\n{main}\n</main>\n'
        f"<script{mark}>{asset('app.js')}</script>\n</body>\n</html>\n"
    )


def _policy() -> str:
    """No network at all, whatever a name or a browser extension tries."""
    rules = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">\n'


def _sidebar(document: Document, links: Sequence[tuple[str, str]]) -> str:
    groups: dict[str, list[Section]] = {}
    for section in document.sections:
        groups.setdefault(section.kind, []).append(section)
    out = [f'<p class="brand">Assay</p><p class="subtitle">{safe(document.subtitle)}</p><nav aria-label="Pages">']
    for kind, sections in groups.items():
        if kind:
            out.append(f'<p class="kind">{safe(kind)}</p>')
        out.append("<ul>" + "".join(f'<li><a href="#{escape(one.anchor)}">{safe(one.title, 40)}</a></li>' for one in sections) + "</ul>")
    return "".join(out) + navigation(links) + "</nav>" + THEME


def navigation(links: Sequence[tuple[str, str]]) -> str:
    """Links to other pages, as a list of the sidebar."""
    items = "".join(f'<li><a href="{escape(address)}">{safe(text, 40)}</a></li>' for text, address in links)
    return f'<p class="kind">Live</p><ul>{items}</ul>' if items else ""


def _facts(facts: object) -> str:
    items = dict(facts) if isinstance(facts, dict) else {}
    return " · ".join(f"<span>{safe(name)} {safe(value)}</span>" for name, value in items.items())


def _pages(section: Section, packer: Packer, top: Section | None = None, up: Section | None = None) -> Iterator[str]:
    """The page of a section and those of its subsections that have their own; `top` is the one in the navigation, `up` leads back."""
    ident = escape(section.anchor)
    mark = f' data-top="{escape(top.anchor)}"' if top else ""
    yield f'<section class="page" id="{ident}" aria-labelledby="{ident}-h"{mark}>'
    if up is not None and top is not None:
        back = up.title if up is top else f"{top.title}: {up.title}"
        yield f'<p class="up"><a href="#{escape(up.anchor)}">{safe(back)}</a></p>'
    yield f'<h1 id="{ident}-h">{safe(section.title)}</h1>'
    yield from _inside(section, 2, packer)
    yield "</section>\n"
    for child, parent in _apart(section):
        yield from _pages(child, packer, top or section, parent)


def _apart(section: Section) -> Iterator[tuple[Section, Section]]:
    """The subsections that are pages of their own, each with the section that it belongs to."""
    for child in section.sections:
        if child.page:
            yield child, section
        else:
            yield from _apart(child)


def _inside(section: Section, level: int, packer: Packer) -> Iterator[str]:
    if section.summary:
        yield f'<p class="summary">{safe(section.summary, 400)}</p>'
    for block in section.blocks:
        yield from _block(block, section.title, packer)
    parts = [child for child in section.sections if not child.page]
    if len(parts) > 2 and level == 2:
        yield f'<ul class="contents" aria-label="On this page">{"".join(_contents(section, parts))}</ul>'
    for child in parts:
        tag = f"h{min(level, 6)}"
        yield f'<section class="part" id="{escape(child.anchor)}"><{tag}>{safe(child.title)}</{tag}>'
        yield from _inside(child, level + 1, packer)
        yield "</section>"


def _contents(section: Section, parts: Sequence[Section]) -> Iterator[str]:
    """Links to the parts; what repeats the page's own title is left out."""
    for part in parts:
        text = part.title.removeprefix(section.title).strip()
        text = text[1:-1] if text.startswith("(") and text.endswith(")") else text
        yield f'<li><a href="#{escape(part.anchor)}">{safe(text or part.title, 120)}</a></li>'


def _block(block: Block, heading: str, packer: Packer) -> Iterator[str]:
    if isinstance(block, Table):
        yield from table(block, heading, packer)
    elif isinstance(block, Text):
        yield f'<p class="text {block.tone}">{escape(printable(block.text))}</p>'
    elif isinstance(block, Facts):
        items = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(value, 400)}</dd></div>" for name, value in block.items)
        long = " list" if any(len(value) > BIG for _, value in block.items) else ""
        yield f'<dl class="facts{long}">{items}</dl>'
    elif isinstance(block, Code):
        text = escape("\n".join(printable(line) for line in block.text.splitlines()))
        pre = f'<pre tabindex="0"><code>{text}</code></pre>'
        if block.folded:
            yield f"<details><summary>{safe(block.caption)}</summary>{pre}</details>"
        else:
            yield (f'<p class="caption">{safe(block.caption)}</p>' if block.caption else "") + pre
    elif isinstance(block, Plot):
        yield from _plot(block)


def _plot(block: Plot) -> Iterator[str]:
    figure = block.figure
    data = base64.b64encode(figure.csv().encode()).decode()
    yield f'<figure id="{escape(block.id)}"><h3>{safe(figure.title.partition(":")[0])}</h3>'
    yield f'<div class="canvas" tabindex="0" role="group" aria-label="{safe(figure.title)}">{svg(figure, escape(block.id))}</div>'
    yield f'<figcaption>{escape(figure.caption)} <a class="csv" download="{escape(block.id)}.csv" '
    yield f'href="data:text/csv;charset=utf-8;base64,{data}">CSV</a></figcaption></figure>'
