"""Which columns of a table a terminal of some width shows, how wide, and where text is broken: no name is ever folded letter by letter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

#: On a terminal too narrow for the table: widths that headers are folded to, and that names and sentences keep at least.
HEADER, NAME, SENTENCE = 10, 14, 20
#: Characters between two columns of a table that fits as it is, and of one that was made to fit.
WIDE_GAP, NARROW_GAP = 3, 2


@dataclass(frozen=True, slots=True)
class Texts:
    """A column as it would be shown with room for all: its header and its cells."""

    header: str
    cells: tuple[str, ...]
    numeric: bool  #: never broken
    wrap: bool  #: sentences
    spare: int

    @property
    def natural(self) -> int:
        return max(map(cell_len, (self.header, *self.cells)))

    @property
    def least(self) -> int:
        """The width below which the column can't be read."""
        head = max(map(cell_len, fold(self.header, HEADER).split("\n")))
        content = max(map(cell_len, self.cells), default=0)
        return max(head, content if self.numeric else min(content, SENTENCE if self.wrap else NAME))


@dataclass(frozen=True, slots=True)
class Layout:
    """`widths` of the columns shown, by index; `None` where the table fits as it is."""

    shown: tuple[int, ...]
    widths: tuple[int, ...] | None


def layout(columns: Sequence[Texts], room: int) -> Layout:
    """Drop the most dispensable columns until the others can be read side by side, then share out what room is left."""
    shown = list(range(len(columns)))
    if sum(column.natural for column in columns) + WIDE_GAP * (len(columns) - 1) <= room:
        return Layout(tuple(shown), None)
    while len(shown) > 1 and _needed([columns[at] for at in shown]) > room:
        spare = [at for at in shown[1:] if columns[at].spare]
        if not spare:
            break
        shown.remove(max(spare, key=lambda at: (columns[at].spare, at)))
    kept = [columns[at] for at in shown]
    widths = [column.least for column in kept]
    left = max(0, room - _needed(kept))
    # Cells before headers; each further character goes where most lines are needed, a name's lines counting four times a sentence's.
    weights = [1 if column.wrap else 4 for column in kept]
    for most in ([max(map(cell_len, column.cells), default=0) for column in kept], [column.natural for column in kept]):
        while left and any(width < wanted for width, wanted in zip(widths, most, strict=True)):
            widths[max(range(len(kept)), key=lambda at: (most[at] > widths[at], weights[at] * most[at] / widths[at]))] += 1
            left -= 1
    return Layout(tuple(shown), tuple(widths))


def _needed(columns: Sequence[Texts]) -> int:
    return sum(column.least for column in columns) + NARROW_GAP * (len(columns) - 1)


def fold(text: str, width: int) -> str:
    """The text in lines of at most `width` characters, broken at spaces, in words that are longer also after punctuation."""
    pieces: list[str] = []
    for word in re.findall(r"\S*\s?", text):
        pieces += [word] if cell_len(word.rstrip()) <= width else re.findall(r"[^_\-/=,]*[_\-/=,]?", word)
    lines = [""]
    for piece in pieces:
        if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.strip() for line in lines if line.strip())
