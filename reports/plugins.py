"""Columns from elsewhere: packages with the entry-point group `assay.columns`, or a Python file that a command names.

An entry point names a `BoardColumn`, a sequence of them, or a module whose public `BoardColumn`s are taken. Third-party code runs with
the rights of the command; one that fails to import is reported, and everything else goes on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from reports.columns import COLUMNS, BoardColumn, add_column
from reports.errors import BadQuestion

GROUP = "assay.columns"


def load_entry_points() -> list[str]:
    """Add the columns of installed packages; returns one sentence per entry point that could not be used."""
    problems = []
    for point in entry_points(group=GROUP):
        try:
            _add(_columns(point.load()), point.name)
        except Exception as error:  # whatever a package raises on import, the report is made without its columns
            problems.append(f"The columns of {point.name!r} ({point.value}) are left out: {type(error).__name__}: {error}")
    return problems


def load_file(path: Path) -> list[str]:
    """Add the `BoardColumn`s that the file defines; returns their keys. Raises BadQuestion when it can't be run or defines none."""
    spec = importlib.util.spec_from_file_location(f"assay_columns_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BadQuestion(f"--columns-from {path}: there is no such Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise BadQuestion(f"--columns-from {path} can't be run: {type(error).__name__}: {error}.") from error
    found = _columns(module)
    if not found:
        raise BadQuestion(f"--columns-from {path} defines no reports.columns.BoardColumn.")
    _add(found, str(path))
    return [column.key for column in found]


def _columns(found: object) -> list[BoardColumn]:
    if isinstance(found, BoardColumn):
        return [found]
    values: Iterable[object]
    if isinstance(found, ModuleType):
        values = (value for name, value in vars(found).items() if not name.startswith("_"))
    elif isinstance(found, Iterable):
        values = found
    else:
        raise TypeError("it names neither a BoardColumn, nor a sequence of them, nor a module")
    return [value for value in values if isinstance(value, BoardColumn)]


def _add(columns: Iterable[BoardColumn], source: str) -> None:
    for column in columns:
        if COLUMNS.get(column.key) is not column:
            try:
                add_column(column)
            except BadQuestion as error:
                raise BadQuestion(f"{source}: {error}") from error
