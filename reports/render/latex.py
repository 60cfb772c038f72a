"""Documents as LaTeX fragments: booktabs tables that compile with pdflatex, whatever the names hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from reports.document import Block, Code, Document, Facts, Plot, Section, Table, Text
from reports.render.clean import printable, short

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
    "'": "{'}",
    "`": "{`}",
    "-": "{-}",  # no ligatures in names
    "–": "--",
    "−": "$-$",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "\u00a0": "~",
    "\ufffd": "?",
}
_NAMES = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
_GREEK = {f"GREEK SMALL LETTER {name.upper()}": name for name in re.findall(r"\w+", _NAMES.replace("lambda", "lamda"))}
#: Accented letters that pdflatex's default encoding knows.
_KNOWN = set("àáâãäåçèéêëìíîïñòóôõöùúûüýÿÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝßøØæÆœŒ")

PREAMBLE = "% needs \\usepackage{booktabs} and, before TeX Live 2018, \\usepackage[utf8]{inputenc}\n"


def escape(text: str, longest: int | None = None) -> str:
    """Text that LaTeX sets as it is; characters outside Latin and Greek become U+XXXX."""
    text = printable(text) if longest is None else short(text, longest)
    return "".join(_character(character) for character in text)


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii() or character in _KNOWN:
        return character
    greek = _GREEK.get(unicodedata.name(character, ""), "").replace("lamda", "lambda")  # Unicode spells it without b
    return f"$\\{greek}$" if greek else f"U+{ord(character):04X}"


def render(document: Document) -> str:
    """Sections with one `table` per table; plots are named in a comment."""
    lines = [PREAMBLE.rstrip(), f"% {escape(document.title)}"]
    _sections(document.sections, lines, 0)
    return "\n".join(lines) + "\n"


def _sections(sections: Sequence[Section], lines: list[str], depth: int) -> None:
    for section in sections:
        lines.append(f"\\{('section', 'subsection', 'subsubsection')[min(depth, 2)]}*{{{escape(section.title, 120)}}}")
        if section.summary:
            lines.append(escape(section.summary) + "\n")
        for block in section.blocks:
            _block(block, lines)
        _sections(section.sections, lines, depth + 1)


def _block(block: Block, lines: list[str]) -> None:
    if isinstance(block, Table):
        lines += table(block)
    elif isinstance(block, Text):
        lines.append(escape(block.text) + "\n")
    elif isinstance(block, Facts):
        items = [f"\\item[{escape(name)}] {escape(value)}" for name, value in block.items]
        lines += [r"\begin{description}", *items, r"\end{description}"] if items else []
    elif isinstance(block, Code):
        lines += [
            r"\begin{quote}\ttfamily\small\raggedright",
            *(escape(line) + r"\\" for line in block.text.splitlines() if line),
            r"\end{quote}",
        ]
    elif isinstance(block, Plot):
        lines.append(f"% plot: {escape(block.figure.title)}")


def table(block: Table) -> list[str]:
    """A floating booktabs table; methods that can't be told apart from the best are bold, notes stand below."""
    layout = "".join({"left": "l", "right": "r", "center": "c"}[column.align] for column in block.columns)
    heads = [
        escape(column.title if not column.unit or column.unit in column.title else f"{column.title} ({column.unit})", 60)
        for column in block.columns
    ]
    lines = [r"\begin{table}[htbp]\centering", rf"\caption{{{escape(block.caption, 200)}}}", rf"\begin{{tabular}}{{{layout}}}", r"\toprule"]
    lines += [" & ".join(heads) + r" \\", r"\midrule"]
    for row in block.rows:
        cells = [
            rf"\textbf{{{escape(cell.text, 60)}}}" if cell.tone == "best" and cell.text else escape(cell.text, 60) for cell in row.cells
        ]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\parbox{{.95\linewidth}}{{\footnotesize {escape(note)}}}" for note in block.notes]
    return [*lines, r"\end{table}"]
