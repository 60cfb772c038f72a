"""Rows of a cursor as Arrow tables, with types that do not depend on how many rows there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from db.views import VIEWS

if TYPE_CHECKING:
    import pyarrow


def documented_type(name: str, sql: str) -> pyarrow.DataType | None:
    """The Arrow type of the column `name` of the views that `sql` mentions; None when none has it or they disagree."""
    import pyarrow as pa

    arrow = {"text": pa.string(), "json": pa.string(), "integer": pa.int64(), "flag": pa.int64(), "real": pa.float64()}
    words = set(re.findall(r"\w+", sql.lower()))
    mentioned = [view for view_name, view in VIEWS.items() if view_name in words]
    types = {view.columns[name].type for view in mentioned if name in view.columns}
    found = {arrow[kind] for kind in types if kind != "time"}
    return found.pop() if len(found) == 1 and "time" not in types else None


def to_arrow(names: Sequence[str], rows: Sequence[Sequence[Any]], sql: str) -> pyarrow.Table:
    """An Arrow table of `rows`, which `sql` returned.

    A public column keeps its documented type even when it is empty or all NULL; others take the type of their
    values, text when the values are mixed. Equal names get suffixes, because a table needs distinct ones."""
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    arrays = [_array(column, documented_type(name, sql)) for name, column in zip(names, columns, strict=True)]
    return pa.table(arrays, names=distinct(names))


def _array(values: Sequence[Any], documented: pyarrow.DataType | None) -> pyarrow.Array:
    import pyarrow as pa

    if not values:  # pa.array would import pandas to find out what this is
        return pa.nulls(0, documented or pa.string())
    decimals = [value for value in values if isinstance(value, Decimal)]  # PostgreSQL's sums of integers and its averages
    if decimals:
        number = int if all(value.is_finite() and value == value.to_integral_value() for value in decimals) else float
        values = [number(value) if isinstance(value, Decimal) else value for value in values]
    if documented is not None:
        try:
            return pa.array(values, type=documented)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass  # an alias of the same name with values of another type
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], type=pa.string())
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with suffixes (`_2`, …) where one comes again."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result
