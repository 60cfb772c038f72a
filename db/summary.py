"""The leaderboard's running totals: count, mean and spread per (task configuration, method configuration, metric).

They change in the transaction that accepts an attempt, so the leaderboard over ten million measurements reads thousands of rows.
Merging follows Chan, Golub and LeVeque (1983): stable whatever the order and the size of the groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy
    from sqlalchemy import Connection

    from db.backends.base import Backend


#: Beyond this, sums and differences of values can exceed the largest double.
HUGE = 1e300


class Cell(NamedTuple):
    """Ids of task configuration, method configuration and metric."""

    task_config: int
    method_config: int
    metric: int


@dataclass(slots=True)
class Totals:
    """Totals over finite values; `m2` is the sum of squared deviations from the mean."""

    n: int = 0
    nonfinite: int = 0
    mean: float = 0.0
    m2: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float | None) -> None:
        """Add one value; None stands for a non-finite one."""
        if value is None:
            self.nonfinite += 1
        else:
            self.merge(Totals(1, 0, value, 0.0, value, value))

    def merge(self, other: Totals) -> None:
        self.nonfinite += other.nonfinite
        if other.n:
            n = self.n + other.n
            # Halving first keeps the difference of two huge values of opposite sign finite.
            half = other.mean / 2 - self.mean / 2
            self.m2 += other.m2 + 4 * half * half * (self.n / n) * other.n
            if not self.n:
                self.mean = other.mean
            elif max(abs(self.mean), abs(other.mean)) > HUGE:
                self.mean = self.mean * (self.n / n) + other.mean * (other.n / n)
            else:
                self.mean += 2 * half * (other.n / n)
            self.low, self.high, self.n = min(self.low, other.low), max(self.high, other.high), n

    @property
    def sd(self) -> float | None:
        """Sample standard deviation; None for fewer than two values or when it would overflow."""
        if self.n < 2 or not math.isfinite(self.m2):
            return None
        return math.sqrt(self.m2 / (self.n - 1))

    def row(self, cell: Cell) -> tuple[object, ...]:
        """Values of the columns of `summary`, in `COLUMNS`' order."""
        finite = self.n > 0
        return (
            *cell,
            self.n,
            self.nonfinite,
            self.mean if finite else None,
            self.m2 if finite and math.isfinite(self.m2) else None,
            self.sd,
            self.low if finite else None,
            self.high if finite else None,
        )


COLUMNS = ("task_config_id", "method_config_id", "metric_id", "n", "nonfinite", "mean", "m2", "sd", "low", "high")
UPDATE = """UPDATE summary SET n = ?, nonfinite = ?, mean = ?, m2 = ?, sd = ?, low = ?, high = ?
    WHERE task_config_id = ? AND method_config_id = ? AND metric_id = ?"""


#: By (task configuration, method configuration): for each accepted attempt its metrics and their values (None when not finite).
Values = dict[tuple[int, int], list[tuple[tuple[int, ...], list[float | None]]]]


def totals(values: Values) -> dict[Cell, Totals]:
    """Totals per cell."""
    found: dict[Cell, Totals] = {}
    for (task_config, method_config), attempts in values.items():
        by_metrics: dict[tuple[int, ...], list[list[float | None]]] = {}
        for metrics, numbers in attempts:
            by_metrics.setdefault(metrics, []).append(numbers)
        for metrics, lists in by_metrics.items():  # nearly always one: an arm's seeds measure the same
            for metric, column in zip(metrics, zip(*lists, strict=True), strict=True):
                cell = Cell(task_config, method_config, metric)
                new = _of(column)
                if cell in found:
                    found[cell].merge(new)
                else:
                    found[cell] = new
    return found


def totals_of_columns(
    arms: Sequence[tuple[int, int]], arm: numpy.ndarray, metric: numpy.ndarray, value: numpy.ndarray
) -> dict[Cell, Totals]:
    """The same from arrays of equal length: index into `arms`, metric id, value (nan when not finite)."""
    import numpy as np

    if not len(arm):
        return {}
    order = np.lexsort((metric, arm))
    arm, metric, value = arm[order], metric[order], value[order]
    starts = np.flatnonzero(np.r_[True, (arm[1:] != arm[:-1]) | (metric[1:] != metric[:-1])])
    finite = np.isfinite(value)
    numbers = np.where(finite, value, 0.0)
    n = np.add.reduceat(finite.astype(np.int64), starts)
    sizes = np.diff(np.r_[starts, len(arm)])
    with np.errstate(all="ignore"):
        mean = np.add.reduceat(numbers, starts) / n
        m2 = np.add.reduceat(np.where(finite, (value - np.repeat(mean, sizes)) ** 2, 0.0), starts)
    low, high = np.minimum.reduceat(np.where(finite, value, np.inf), starts), np.maximum.reduceat(np.where(finite, value, -np.inf), starts)
    mean = np.clip(mean, low, high)  # rounding can push the mean of equal values beyond them
    found = {}
    columns = (arm[starts], metric[starts], n, sizes - n, mean, m2, low, high, starts, starts + sizes)
    for code, metric_id, count, odd, *moments, start, end in zip(*(column.tolist() for column in columns), strict=True):
        task_config, method_config = arms[code]
        cell = Cell(task_config, method_config, metric_id)
        if count and max(-moments[2], moments[3]) > HUGE:  # the slow way knows how to sum these
            found[cell] = _of([number if math.isfinite(number) else None for number in value[start:end].tolist()])
        else:
            found[cell] = Totals(count, odd, *moments) if count else Totals(nonfinite=odd)
    return found


def _of(column: Sequence[float | None]) -> Totals:
    """Totals of one cell's new values."""
    nonfinite = column.count(None)
    values = [value for value in column if value is not None]
    n = len(values)
    if n == 0:
        return Totals(nonfinite=nonfinite)
    if n == 1:
        return Totals(1, nonfinite, values[0], 0.0, values[0], values[0])
    low, high = min(values), max(values)
    huge = max(-low, high) > HUGE
    summed = math.fsum([value * 2.0**-64 for value in values] if huge else values)  # a power of two scales exactly
    mean = min(max(summed / n * (2.0**64 if huge else 1.0), low), high)
    return Totals(n, nonfinite, mean, sum([(value - mean) * (value - mean) for value in values]), low, high)


def add(backend: Backend, connection: Connection, new: Mapping[Cell, Totals]) -> None:
    """Merge `new` into the stored totals, in the caller's exclusive transaction."""
    if not new:
        return
    tasks, methods = sorted({cell.task_config for cell in new}), sorted({cell.method_config for cell in new})
    query = (
        "SELECT task_config_id, method_config_id, metric_id, n, nonfinite, mean, m2, low, high FROM summary "
        f"WHERE {backend.member('task_config_id', 'tasks')} AND {backend.member('method_config_id', 'methods')}"
    )
    inserts = dict(new)
    updates = []
    for task, method, metric, n, nonfinite, mean, m2, low, high in backend.rows(
        connection, query, {"tasks": backend.keys(tasks), "methods": backend.keys(methods)}
    ):
        cell = Cell(task, method, metric)
        more = inserts.pop(cell, None)
        if more is not None:
            stored = Totals(n, nonfinite, mean, math.inf if m2 is None else m2, low, high) if n else Totals(nonfinite=nonfinite)
            stored.merge(more)
            row = stored.row(cell)
            updates.append((*row[3:], *row[:3]))
    backend.update(connection, UPDATE, sorted(updates, key=lambda row: row[-3:]))
    backend.insert(connection, "summary", COLUMNS, [totals.row(cell) for cell, totals in sorted(inserts.items())])
