"""Documents on a terminal (rich). Colours carry no meaning of their own: groups are letters, failures are numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text as RichText

from reports.document import Block, Code, Document, Facts, Plot, Row, Section, Table, Text, Tone
from reports.render.clean import printable, short
from reports.render.fit import Texts, fold, layout

#: Names are cut in the middle beyond this many characters; the claims' own are shorter.
NAMES = 64

STYLES: dict[Tone, str] = {"plain": "", "best": "bold green", "good": "green", "bad": "red", "warn": "yellow", "muted": "dim"}


def render(document: Document, console: Console, everything: bool = False) -> None:
    """Print the document. Plots are named, not drawn: the HTML report has them. `everything`: also the rows that tables fold away."""
    console.print(RichText(printable(document.title), style="bold"))
    if document.subtitle:
        console.print(RichText(printable(document.subtitle), style="dim"))
    _sections(document.sections, console, 0, everything)


def _sections(sections: Sequence[Section], console: Console, depth: int, everything: bool) -> None:
    for section in sections:
        console.print()
        console.print(RichText(short(section.title), style="bold cyan" if depth == 0 else "bold"))
        if section.summary:
            console.print(RichText(short(section.summary, 160), style="dim"))
        for block in section.blocks:
            _block(block, console, section.title, everything)
        _sections(section.sections, console, depth + 1, everything)


def _block(block: Block, console: Console, heading: str, everything: bool) -> None:
    if isinstance(block, Table):
        _table(block, console, heading, everything)
    elif isinstance(block, Text):
        console.print(RichText(printable(block.text), style=STYLES[block.tone]))
    elif isinstance(block, Facts):
        grid = RichTable.grid(padding=(0, 2, 0, 0))
        grid.add_column(justify="right", style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in block.items:
            grid.add_row(RichText(short(name)), RichText(short(value, 400)))
        console.print(grid)
    elif isinstance(block, Code):
        # SQL is copied: never cut, however narrow the terminal (rich's Padding would cut it).
        console.print(RichText("\n".join(f"  {printable(line)}" for line in block.text.splitlines())), soft_wrap=True)
    elif isinstance(block, Plot):
        console.print(RichText(f"Plot: {printable(block.figure.title)} (assay report draws it)", style="dim"))


def _table(table: Table, console: Console, heading: str, everything: bool) -> None:
    if table.caption and table.caption != heading:
        console.print(RichText(short(table.caption), style="italic"))
    folded = "" if everything else table.folded
    rows = table.rows[: table.unfolded] if folded else table.rows
    left_out = _rows(table, rows, console) if rows else []
    if folded:
        console.print(RichText(f"{short(folded)}; --all lists them.", style="dim"))
    if left_out:
        text = f"Left out at {console.width} columns: {', '.join(left_out)}. A wider terminal or a pipe (| less -S) shows them."
        console.print(RichText(text, style="dim"))
    for note in table.notes:
        console.print(RichText(printable(note), style="dim"))


def _rows(table: Table, rows: Sequence[Row], console: Console) -> list[str]:
    """Print the rows; returns the titles of the columns that had no room."""
    texts = [
        Texts(
            short(column.title if not column.unit or column.unit in column.title else f"{column.title} ({column.unit})", 40),
            tuple(short(row.cells[at].text, 400 if column.wrap else NAMES) for row in rows),
            column.align == "right",
            column.wrap,
            column.spare,
        )
        for at, column in enumerate(table.columns)
    ]
    found = layout(texts, console.width)
    out = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    if found.widths is not None:
        out.padding = (0, 1, 0, 0)
        out.leading = int(any(texts[at].wrap for at in found.shown))  # rows of several lines need air between them
    for number, at in enumerate(found.shown):
        width = None if found.widths is None else found.widths[number]
        title = texts[at].header if width is None else fold(texts[at].header, width)
        out.add_column(RichText(title), justify=table.columns[at].align, overflow="fold", width=width, no_wrap=texts[at].numeric)
    for line, row in enumerate(rows):
        cells = []
        for number, at in enumerate(found.shown):
            text = texts[at].cells[line]
            if found.widths is not None and not texts[at].numeric:
                text = fold(text, found.widths[number])
            cells.append(RichText(text, style=STYLES[row.cells[at].tone]))
        out.add_row(*cells)
    console.print(out)
    return [texts[at].header for at in range(len(texts)) if at not in found.shown]
