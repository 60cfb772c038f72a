"""Documents as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reports.document import Block, Code, Document, Facts, Plot, Section, Table, Text
from reports.render.clean import printable, short

#: Characters of a cell: a claim's statement fits, a hostile name of ten kilobytes does not.
CELL = 400

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~$]|^[#+=>-]|^\d+(?=[.)](?:\s|$)))")


def escape(text: str, longest: int | None = None) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no cell or line break."""
    text = printable(text) if longest is None else short(text, longest)
    text = _SPECIAL.sub(lambda found: found[1] + "\\" if found[1].isdigit() else "\\" + found[1], text.replace("&", "&amp;"))
    return re.sub(r"(?i)\b(https?|ftp|www)([:.])", r"\1&#8203;\2", text)


def render(document: Document) -> str:
    """The whole document; ends with a newline."""
    lines = [f"# {escape(document.title)}", ""]
    if document.subtitle:
        lines += [escape(document.subtitle), ""]
    _sections(document.sections, lines, 2)
    return "\n".join(lines).rstrip() + "\n"


def _sections(sections: Sequence[Section], lines: list[str], depth: int) -> None:
    for section in sections:
        lines += ["#" * min(depth, 6) + " " + escape(section.title, 120), ""]
        if section.summary:
            lines += [escape(section.summary), ""]
        for block in section.blocks:
            _block(block, lines, section.title)
        _sections(section.sections, lines, depth + 1)


def _block(block: Block, lines: list[str], heading: str) -> None:
    if isinstance(block, Table):
        if block.caption and block.caption != heading:
            lines += [f"**{escape(block.caption)}**", ""]
        lines += table(block)
        lines += [""] + [line for note in block.notes for line in (escape(note), "")]
    elif isinstance(block, Text):
        lines += [escape(block.text), ""]
    elif isinstance(block, Facts):
        lines += [f"- {escape(name)}: {escape(value)}" for name, value in block.items] + [""]
    elif isinstance(block, Code):
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", block.text)), default=0))
        lines += [fence, *(printable(line) for line in block.text.splitlines()), fence, ""]
    elif isinstance(block, Plot):
        lines += [f"*{escape(block.figure.title)}*: {escape(block.figure.description)}", ""]


def table(block: Table) -> list[str]:
    """Header, alignment row and one line per row."""

    def title(name: str, unit: str) -> str:
        return escape(name if not unit or unit in name else f"{name} ({unit})", 60)

    marks = {"left": ":---", "right": "---:", "center": ":---:"}
    lines = [
        "| " + " | ".join(title(column.title, column.unit) for column in block.columns) + " |",
        "| " + " | ".join(marks[column.align] for column in block.columns) + " |",
    ]
    for row in block.rows:
        texts = [
            f"**{escape(cell.text, CELL)}**" if cell.tone == "best" and cell.text.strip() else escape(cell.text, CELL) for cell in row.cells
        ]
        lines.append("| " + " | ".join(texts) + " |")
    return lines
