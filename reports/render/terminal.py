"""Documents on a terminal (rich). Colours carry no meaning of their own: groups are letters, failures are numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text as RichText

from reports.document import Block, Code, Document, Facts, Plot, Section, Table, Text, Tone
from reports.render.clean import printable, short

STYLES: dict[Tone, str] = {"plain": "", "best": "bold green", "good": "green", "bad": "red", "warn": "yellow", "muted": "dim"}


def render(document: Document, console: Console) -> None:
    """Print the document. Plots are named, not drawn: the HTML report has them."""
    console.print(RichText(printable(document.title), style="bold"))
    if document.subtitle:
        console.print(RichText(printable(document.subtitle), style="dim"))
    _sections(document.sections, console, 0)


def _sections(sections: Sequence[Section], console: Console, depth: int) -> None:
    for section in sections:
        console.print()
        console.print(RichText(short(section.title), style="bold cyan" if depth == 0 else "bold"))
        if section.summary:
            console.print(RichText(short(section.summary, 160), style="dim"))
        for block in section.blocks:
            _block(block, console, section.title)
        _sections(section.sections, console, depth + 1)


def _block(block: Block, console: Console, heading: str) -> None:
    if isinstance(block, Table):
        _table(block, console, heading)
    elif isinstance(block, Text):
        console.print(RichText(printable(block.text), style=STYLES[block.tone]))
    elif isinstance(block, Facts):
        width = max((len(short(name)) for name, _ in block.items), default=0)
        for name, value in block.items:
            console.print(RichText.assemble((f"{short(name):>{width}}  ", "dim"), short(value, 400)))
    elif isinstance(block, Code):
        console.print(Padding(RichText("\n".join(printable(line) for line in block.text.splitlines())), (0, 2)), soft_wrap=True)
    elif isinstance(block, Plot):
        console.print(RichText(f"Plot: {printable(block.figure.title)} (assay report draws it)", style="dim"))


def _table(table: Table, console: Console, heading: str) -> None:
    if table.caption and table.caption != heading:
        console.print(RichText(short(table.caption), style="italic"))
    out = RichTable(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in table.columns:
        text = column.title if not column.unit or column.unit in column.title else f"{column.title} ({column.unit})"
        out.add_column(RichText(short(text, 40)), justify=column.align, overflow="fold", no_wrap=column.align == "right")
    for row in table.rows:
        cells = zip(table.columns, row.cells, strict=True)
        out.add_row(*(RichText(short(cell.text, 400 if column.wrap else 48), style=STYLES[cell.tone]) for column, cell in cells))
    console.print(out)
    for note in table.notes:
        console.print(RichText(printable(note), style="dim"))
