"""What a page keeps as JSON: the SQL conditions and trial keys behind rows, each once, and in large reports most rows of long tables,
which the page's script turns into HTML on demand."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape

from reports.document import Cell, Table
from reports.render.clean import short

#: Rows in a document above which long tables are packed, and rows that stay HTML then.
LARGE, STATIC = 3000, 20


class Packer:
    """Numbers the conditions and trials of one document's rows, which repeat over its tables, and packs its long tables."""

    def __init__(self, rows: int) -> None:
        self.active = rows > LARGE
        self._conditions: dict[str, int] = {}
        self._trials: dict[tuple[str, ...], int] = {}

    def condition(self, where: str) -> int:
        """The number under which the page holds these SQL conditions."""
        return self._conditions.setdefault(where, len(self._conditions))

    def trials(self, keys: tuple[str, ...]) -> int:
        """The number under which the page holds these trial keys."""
        return self._trials.setdefault(keys, len(self._trials))

    def wants(self, table: Table) -> bool:
        """Whether most rows wait for the reader: those of boards do, those of an index, which has no measured cells, do not."""
        return self.active and len(table.rows) > STATIC and any(cell.id for cell in table.rows[0].cells)

    def rest(self, table: Table, spans: Sequence[str]) -> str:
        """The rows after the first `STATIC`. A row is [best, condition, bar or 0, cells].
        A cell is its text, [text, id] where measured, or [text, "", link].

        Trial keys are left out: the SQL selects them.
        """
        metrics = next(([cell.metric for cell in row.cells] for row in table.rows), [])
        rows = []
        for number, row in enumerate(table.rows[STATIC:], STATIC):
            bar = [float(found) for found in re.findall(r"--\w:([-\d.]+)%", spans[number])] if spans and spans[number] else 0
            best = int(any(cell.tone == "best" for cell in row.cells))
            rows.append([best, self.condition(row.where), bar, [_cell(cell) for cell in row.cells]])
        return _block(f'class="rest" data-for="{escape(table.id)}"', {"metrics": metrics, "rows": rows})

    def shared(self) -> str:
        """The conditions and trials that rows refer to."""
        trials = [" ".join(keys) for keys in self._trials]
        return _block('id="conditions"', list(self._conditions)) + _block('id="trials"', trials)


def _cell(cell: Cell) -> object:
    text = short(cell.text, 96)
    return [text, cell.id] if cell.id else [text, "", cell.href] if cell.href else text


def _block(attributes: str, value: object) -> str:
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" {attributes}>{text}</script>'
