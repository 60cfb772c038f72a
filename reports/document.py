"""The document model that every output is rendered from: terminal, Markdown, LaTeX, CSV, JSON and HTML know only these classes.

A cell carries its number, the text shown, and where it comes from (SQL and trial keys), so no renderer recomputes or reformats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from reports.plots.figure import Figure

Align = Literal["left", "right", "center"]

#: good/bad: state (verdicts, failures). best: among the best that can't be told apart. muted: secondary. plain: everything else.
Tone = Literal["plain", "best", "good", "bad", "warn", "muted"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `doc` says how the number is computed; renderers show it as a tooltip or footnote.

    `spare`: on a terminal too narrow for all columns those with the highest go first, of equals the rightmost; the first column of the
    table and those with 0 never.
    """

    key: str
    title: str
    align: Align = "left"
    unit: str = ""
    doc: str = ""
    wrap: bool = False  #: sentences rather than names: shown whole
    spare: int = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown (`text`), what it sorts and exports as (`value`), and its interval where it has one.

    `id` identifies a measured number for `assay why`; `metric` completes the SQL of its row (`reports.provenance.select`).
    """

    text: str
    value: float | int | str | None = None
    low: float | None = None
    high: float | None = None
    tone: Tone = "plain"
    id: str = ""
    metric: str = ""
    note: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Cells in the order of the table's columns, and the trials behind them. `where` narrows the table's `where` to this row in SQL."""

    cells: tuple[Cell, ...]
    trials: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """`id` is unique in the document. `range_column` names the column whose intervals a renderer may draw as bars.

    `folded`, where it is not empty, says in words what the rows after the first `unfolded` are: people see it instead of them at first
    (terminal, HTML); data formats hold all rows. `options`: what `assay why` needs beside the id of one of its cells.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    range_column: str = ""
    where: str = ""
    folded: str = ""
    unfolded: int = 0
    options: str = ""


def dense(table: Table) -> Table:
    """The table without the columns in which no row says anything."""
    kept = [at for at in range(len(table.columns)) if any(row.cells[at].text not in ("", "–") for row in table.rows)]
    rows = tuple(replace(row, cells=tuple(row.cells[at] for at in kept)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[at] for at in kept), rows=rows)


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Facts:
    """Name: value pairs."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Preformatted text, for instance SQL or a traceback."""

    text: str
    caption: str = ""
    folded: bool = False  #: HTML shows the caption, and the text when asked


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure with its data; `id` is unique in the document."""

    id: str
    figure: Figure


Block = Text | Table | Facts | Code | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """`anchor` is unique in the document. A top-level section is a page of the HTML report; `kind` groups pages in its navigation.

    `page`: a subsection that is a page of its own there, reached by links and not from the navigation.
    """

    title: str
    anchor: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[Section, ...] = ()
    kind: str = ""
    summary: str = ""
    page: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """`facts` says what it was made from (ledger, time, versions)."""

    title: str
    sections: tuple[Section, ...]
    subtitle: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def tables(self) -> list[Table]:
        """Every table, in order."""
        return [block for section in walk(self.sections) for block in section.blocks if isinstance(block, Table)]

    def plots(self) -> list[Plot]:
        """Every plot, in order."""
        return [block for section in walk(self.sections) for block in section.blocks if isinstance(block, Plot)]


def walk(sections: Sequence[Section]) -> list[Section]:
    """The sections and their subsections, depth first."""
    return [found for section in sections for found in (section, *walk(section.sections))]
