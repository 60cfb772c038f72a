"""Long tables of large reports: the first rows are HTML, the others compact JSON that the page's script turns into rows on demand."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from reports.document import Cell, Table
from reports.render.clean import short

#: Rows in a document above which long tables are packed, and rows that stay HTML then.
LARGE, STATIC = 3000, 20


class Packer:
    """Packs the long tables of one document; SQL conditions of rows repeat over tables and are stored once."""

    def __init__(self, rows: int) -> None:
        self.active = rows > LARGE
        self._conditions: dict[str, int] = {}

    def wants(self, table: Table) -> bool:
        return self.active and len(table.rows) > STATIC

    def rest(self, table: Table, spans: Sequence[str]) -> str:
        """The rows after the first `STATIC`. A row is [best, condition, bar or 0, cells]; a cell its text, or [text, id] where measured.

        Trial keys are left out: the SQL selects them.
        """
        metrics = next(([cell.metric for cell in row.cells] for row in table.rows), [])
        rows = []
        for number, row in enumerate(table.rows[STATIC:], STATIC):
            bar = [float(found) for found in re.findall(r"--\w:([-\d.]+)%", spans[number])] if spans and spans[number] else 0
            condition = self._conditions.setdefault(row.where, len(self._conditions))
            rows.append([int(any(cell.tone == "best" for cell in row.cells)), condition, bar, [_cell(cell) for cell in row.cells]])
        return _block(f'class="rest" data-for="{table.id}"', {"metrics": metrics, "rows": rows})

    def shared(self) -> str:
        """What packed tables have in common; empty when there are none."""
        return _block('id="conditions"', list(self._conditions)) if self._conditions else ""


def _cell(cell: Cell) -> object:
    text = short(cell.text, 96)
    return [text, cell.id] if cell.id else text


def _block(attributes: str, value: object) -> str:
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" {attributes}>{text}</script>'
