"""Where a number comes from: coordinates in the ledger, the SQL that selects it, and a short id that `assay why` resolves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coordinates:
    """One cell's place: a task configuration, a method configuration and a metric; empty parts are not constrained.

    `reading`: how the rows there were read, as the options that `assay why` needs to read them alike (`reports.standings.reading`).
    """

    family: str
    task: str = ""
    task_version: int = 0
    task_params: str = ""
    method: str = ""
    method_version: int = 0
    method_params: str = ""
    metric: str = ""
    reading: str = ""

    def short_id(self) -> str:
        """Twelve hexadecimal digits that depend on the coordinates only: the same cell has the same id in every report."""
        parts = [
            self.family,
            self.task,
            self.task_version,
            self.task_params,
            self.method,
            self.method_version,
            self.method_params,
            self.metric,
            *([self.reading] if self.reading else []),
        ]
        text = json.dumps(parts, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def sql(self, only: str = "") -> str:
        """The SELECT whose rows the number is computed from (for `assay sql`); `only` are the conditions of a filter."""
        return select(" AND ".join(filter(None, (self.task_where(), only))), self.method_where(), self.metric)

    def task_where(self) -> str:
        return conditions(family=self.family, task=self.task, task_version=self.task_version, task_params=self.task_params)

    def method_where(self) -> str:
        return conditions(method=self.method, method_version=self.method_version, method_params=self.method_params)


def select(task_where: str, method_where: str, metric: str) -> str:
    """The SELECT behind a cell, from the conditions of its table, its row and its metric. The HTML report composes the same text."""
    where = " AND ".join(part for part in (task_where, method_where, conditions(metric=metric)) if part)
    return f"SELECT seed, value, kind, trial FROM scores WHERE {where} ORDER BY seed"


def conditions(**values: str | int) -> str:
    """`name = literal AND ...` of the values that are not empty."""
    return " AND ".join(f"{name} = {literal(value)}" for name, value in values.items() if value not in ("", 0))


def literal(value: object) -> str:
    """An SQL literal of a number or a string (quotes doubled: safe in SQLite and in PostgreSQL's standard strings)."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
