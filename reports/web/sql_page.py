"""The page that asks the ledger: a form, what there is to ask, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from db.columns import View
from db.formats import Format, cell, is_numeric
from db.reading import Answer
from db.saved import saved_queries
from db.views import VIEWS
from reports.document import Cell, Column, Row, Table
from reports.html.tables import table_html
from reports.provenance import literal

#: Limits of a query from a web page, and of its text.
ROWS, SECONDS, LONGEST = 2000, 20.0, 20_000

TYPES: dict[str, tuple[Format, str]] = {
    "json": ("json", "application/json"),
    "csv": ("csv", "text/csv; charset=utf-8"),
    "arrow": ("arrow", "application/vnd.apache.arrow.stream"),
}


def sql_page(query: str, answer: Answer | None, error: str, families: Sequence[str] = ()) -> str:
    """The form, and the answer under it, or what there is to ask where nothing was asked; saved queries ask about the first family."""
    form = (
        f'<p class="summary">Read only; at most {ROWS:,} rows and {SECONDS:.0f} seconds.</p>'
        '<form method="get" action="/sql"><label for="q">A SELECT over the public views</label>'
        f'<textarea id="q" name="q" rows="6" spellcheck="false" maxlength="{LONGEST}">{escape(query)}</textarea>'
        '<p><button type="submit">Run</button> '
        + " ".join(f'<button type="submit" formaction="/sql.{name}">{name.upper()}</button>' for name in TYPES)
        + "</p></form>"
    )
    out = [f'<section class="page open"><h1>SQL</h1>{form}']
    if not query.strip():
        out.append(_help(families))
    if error:
        out.append(f'<p class="text bad" role="alert">{escape(error)}</p>')
    if answer is not None:
        right = [is_numeric([row[at] for row in answer.rows]) for at in range(len(answer.names))]
        heads = tuple(Column(f"c{at}", name, "right" if right[at] else "left", wrap=not right[at]) for at, name in enumerate(answer.names))
        rows = tuple(Row(tuple(_shown(value) for value in row)) for row in answer.rows)
        more = f", cut after {ROWS:,}" if answer.truncated else ""
        table = Table("rows", "Rows", heads, rows, (f"{len(rows):,} rows{more}, {answer.seconds:.2f} s.",))
        out.append(table_html(table))
    return "".join(out) + "</section>"


def _help(families: Sequence[str]) -> str:
    """What there is to ask: saved queries to start from, and the views with their columns."""
    family = literal(families[0] if families else "")
    asked = {name: quote(one.sql.replace(":family", family)) for name, one in saved_queries().items()}
    saved = "".join(
        f'<li><a href="/sql?q={asked[name]}">{escape(name)}</a> {escape(one.doc)}</li>' for name, one in saved_queries().items()
    )
    views = "".join(
        f"<details><summary>{escape(name)}: {escape(view.doc)}</summary>{_columns(name, view)}</details>" for name, view in VIEWS.items()
    )
    return f'<h2>Saved queries</h2><ul class="saved">{saved}</ul><h2>Views</h2>{views}'


def _columns(name: str, view: View) -> str:
    heads = (Column("column", "column"), Column("type", "type"), Column("doc", "meaning", wrap=True))
    rows = tuple(Row((Cell(at), Cell(one.type, tone="muted"), Cell(one.doc, tone="muted"))) for at, one in view.columns.items())
    return table_html(Table(f"view-{name}", name, heads, rows))


def _shown(value: Any) -> Cell:
    return Cell(cell(value), value if isinstance(value, int | float) else None)
