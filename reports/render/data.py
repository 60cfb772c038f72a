"""Documents as data: JSON (schema in `reports/render/schema.json`) and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any

from reports.document import Document, Table
from reports.plots.figure import guard

#: Raised when a field changes its meaning or goes away.
SCHEMA_VERSION = 1

#: Fields that are written even when they are empty.
ALWAYS = ("text", "value", "rows")

#: Fields that say how people are shown tables, pages and axes; they are not written.
LAYOUT = ("spare", "folded", "unfolded", "within", "page")


def render_json(document: Document) -> str:
    """The document as JSON text. Non-finite numbers become null; empty fields are left out."""
    return json.dumps({"schema": SCHEMA_VERSION, "sections": [], **_plain(document)}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        content = {field.name: _plain(getattr(value, field.name)) for field in fields(value) if field.name not in LAYOUT}
        name = type(value).__name__
        kind = {"kind": name.lower()} if name in ("Table", "Text", "Facts", "Code", "Plot") else {}
        return kind | {key: one for key, one in content.items() if key in ALWAYS or not (one in ("", None, [], {}) or one is False)}
    if isinstance(value, Real) and not isinstance(value, bool):  # columns from elsewhere may hold numpy's numbers
        return int(value) if isinstance(value, Integral) else float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def render_csv(tables: Sequence[Table]) -> str:
    """All tables one below another in one CSV: table, then every column's value; intervals as extra columns `NAME low`, `NAME high`; then
    `trials`, the keys behind the row.

    Values are the unrounded numbers. Texts that a spreadsheet would run as a formula get a leading apostrophe. A column whose key is taken
    (a metric called rank, a count of trials) is called `NAME 2`.
    """
    heads: list[str] = ["table"]
    records: list[dict[str, str]] = []
    for table in tables:
        names = _names(table)
        for row in table.rows:
            record = {"table": guard(table.caption)}
            for name, cell in zip(names, row.cells, strict=True):
                value = cell.text if cell.value is None and cell.low is None else cell.value
                record[name] = _value(value)
                if cell.low is not None or cell.high is not None:
                    record[f"{name} low"], record[f"{name} high"] = _value(cell.low), _value(cell.high)
            record["trials"] = " ".join(row.trials)
            records.append(record)
            heads += [name for name in record if name not in heads and name != "trials"]
    out = io.StringIO()
    writer = csv.DictWriter(out, [guard(name) for name in heads] + ["trials"], restval="", lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({guard(name): text for name, text in record.items()})
    return out.getvalue()


def _names(table: Table) -> list[str]:
    """A heading per column, no two alike, nor like the ends of another's interval or what every CSV has."""
    taken = {"table", "trials"}
    out = []
    for column in table.columns:
        name = next(name for at in range(1, len(taken) + 2) if (name := column.key if at == 1 else f"{column.key} {at}") not in taken)
        taken |= {name, f"{name} low", f"{name} high"}
        out.append(name)
    return out


def _value(value: float | int | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return "" if value == "–" else guard(value)
    return repr(_plain(value)) if math.isfinite(value) else ""
