"""Tables for people and programs: text, CSV, JSON, Markdown, Parquet, Arrow."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

if TYPE_CHECKING:
    import pyarrow

Row = tuple[Any, ...]
Format = Literal["table", "csv", "json", "markdown", "parquet", "arrow"]
FORMATS: tuple[Format, ...] = get_args(Format)
BINARY = ("parquet", "arrow")
#: Categories of characters that move the cursor, change colours or the direction of what surrounds them, or are none.
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
#: Characters of one cell in the format for terminals; the others keep everything.
WIDTH = 60


def write_rows(names: Sequence[str], rows: Sequence[Row], format: Format, sink: BinaryIO, width: int | None = WIDTH, sql: str = "") -> None:
    """Write `rows` to `sink` (UTF-8).

    `width` cuts the cells of the format "table" (None keeps them whole); Parquet and Arrow give the columns
    of the views that `sql` names their documented types."""
    if format == "table":
        sink.write(_text(names, rows, width).encode())
    elif format in BINARY:
        from db.tables import to_arrow

        (_parquet if format == "parquet" else _arrow)(to_arrow(names, rows, sql), sink)
    else:
        {"csv": _csv, "json": _json, "markdown": _markdown}[format](names, rows, sink)


def is_numeric(column: Sequence[Any]) -> bool:
    """Whether a column of values lines up on the right."""
    return all(isinstance(value, int | float | Decimal) for value in column if value is not None)


def cell(value: Any) -> str:
    """A value as people read it; NULL is empty."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def json_value(value: Any) -> Any:
    """A value that JSON knows: non-finite numbers become the strings "nan", "inf" and "-inf", times ISO-8601 text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral_value() else json_value(float(value))
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _text(names: Sequence[str], rows: Sequence[Row], width: int | None) -> str:
    from rich.cells import cell_len, set_cell_size

    def shown(value: Any) -> str:
        text = f"{value:.6g}" if isinstance(value, float) and width is not None else cell(value)
        text = text.replace("\n", "⏎").replace("\r", "").replace("\t", " ")
        if not text.isprintable():  # errors and output of trials may hold terminal escapes
            text = "".join("\ufffd" if unicodedata.category(character) in UNSEEN else character for character in text)
        return text if width is None or cell_len(text) <= width else set_cell_size(text, width - 1) + "…"

    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    texts = [[shown(value) for value in column] for column in columns]
    numeric = [is_numeric(column) for column in columns]
    widths = [max(map(cell_len, [name, *column])) for name, column in zip(names, texts, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            " " * (size - cell_len(text)) + text if right else text + " " * (size - cell_len(text))
            for text, size, right in zip(cells, widths, numeric, strict=True)
        ]
        return "  ".join(padded).rstrip() + "\n"

    return line(names) + line(["─" * size for size in widths]) + "".join(line(row) for row in zip(*texts, strict=True))


def _csv(names: Sequence[str], rows: Sequence[Row], sink: BinaryIO) -> None:
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([cell(value) for value in row] for row in rows)
    sink.write(text.getvalue().encode())


def _json(names: Sequence[str], rows: Sequence[Row], sink: BinaryIO) -> None:
    from db.tables import distinct

    separator, keys = b"[\n", distinct(names)
    for row in rows:
        record = {name: json_value(value) for name, value in zip(keys, row, strict=True)}
        sink.write(separator + json.dumps(record, ensure_ascii=False, allow_nan=False).encode())
        separator = b",\n"
    sink.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _markdown(names: Sequence[str], rows: Sequence[Row], sink: BinaryIO) -> None:
    def line(cells: Iterable[str]) -> bytes:
        escaped = (text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", "").replace("\n", "<br>") for text in cells)
        return ("| " + " | ".join(escaped) + " |\n").encode()

    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    sink.write(line(names))
    sink.write(("|" + "|".join("---:" if is_numeric(column) else "---" for column in columns) + "|\n").encode())
    for row in rows:
        sink.write(line(cell(value) for value in row))


def _parquet(table: pyarrow.Table, sink: BinaryIO) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, sink, compression="zstd")


def _arrow(table: pyarrow.Table, sink: BinaryIO) -> None:
    import pyarrow

    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
