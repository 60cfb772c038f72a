"""Documents as LaTeX fragments: booktabs tables that compile with pdflatex, whatever the names hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from reports.document import Block, Cell, Code, Column, Document, Facts, Plot, Section, Table, Text
from reports.render.clean import printable, short
from reports.render.fit import fold

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
    "*": "{*}",  # a row that begins with one would belong to the line break before it
    "–": "--",
    "−": "$-$",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "◆": r"$\diamond$",
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

PREAMBLE = "% needs \\usepackage{booktabs,graphicx} and, before TeX Live 2018, \\usepackage[utf8]{inputenc}\n"

#: Rows that fit on a page; a longer table goes on in another one. Characters of a line of a header.
MOST_ROWS, HEADER = 40, 12

#: The same for rows that hold sentences, which are set whole (up to so many characters) in columns of this width.
MOST_SENTENCES, SENTENCE, WIDTH = 14, 400, "5cm"

#: A tabular that is wider than the line is made smaller, any other left as it is.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


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
    """Floating booktabs tables that fit the page; methods that can't be told apart from the best are bold, notes stand below."""
    layout = "".join(
        f"p{{{WIDTH}}}" if column.wrap else {"left": "l", "right": "r", "center": "c"}[column.align] for column in block.columns
    )
    most = MOST_SENTENCES if any(column.wrap for column in block.columns) else MOST_ROWS
    heads = " & ".join(_head(column) for column in block.columns) + r" \\"
    lines = []
    for start in range(0, max(1, len(block.rows)), most):
        caption = escape(block.caption, 200) + (" (continued)" if start else "")
        lines += [r"\begin{table}[htbp]\centering", rf"\caption{{{caption}}}", _FIT, rf"\begin{{tabular}}{{{layout}}}", r"\toprule"]
        lines += [heads, r"\midrule"]
        for row in block.rows[start : start + most]:
            lines.append(" & ".join(_cell(cell, column) for cell, column in zip(row.cells, block.columns, strict=True)) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}"]
        if start + most >= len(block.rows):
            lines += [rf"\par\smallskip\parbox{{.95\linewidth}}{{\footnotesize {escape(note)}}}" for note in block.notes]
        lines.append(r"\end{table}")
    return lines


def _head(column: Column) -> str:
    """A header in lines of about `HEADER` characters, broken at spaces and underscores."""
    text = column.title if not column.unit or column.unit in column.title else f"{column.title} ({column.unit})"
    lines = [escape(line) for line in fold(short(text, 60), HEADER).split("\n")]
    side = {"left": "l", "right": "r", "center": "c"}[column.align]
    return lines[0] if len(lines) == 1 else rf"\shortstack[{side}]{{" + r"\\".join(lines) + "}"


def _cell(cell: Cell, column: Column) -> str:
    text = escape(cell.text, SENTENCE if column.wrap else 60)
    return rf"\textbf{{{text}}}" if cell.tone == "best" and text else text
