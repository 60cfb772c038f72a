"""The leaderboard's running totals: count, mean and spread per (task configuration, method configuration, metric).

They change in the transaction that accepts an attempt, so the leaderboard over ten million measurements reads thousands of rows.
Merging follows Chan, Golub and LeVeque (1983): stable whatever the order and the size of the groups.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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


#: New values (None when non-finite) by (task configuration, method configuration), then by metric.
Values = dict[tuple[int, int], dict[int, list[float | None]]]


def collect(values: Values, arm: tuple[int, int], measurements: Iterable[tuple[int, int, float | None, str]]) -> None:
    """Add the measurements (attempt, metric, value, kind) of one accepted attempt."""
    columns = values.get(arm)
    if columns is None:
        columns = values[arm] = defaultdict(list)
    for _, metric, value, _ in measurements:
        columns[metric].append(value)


def totals(values: Values) -> dict[Cell, Totals]:
    """Totals per cell."""
    return {Cell(*arm, metric): _of(column) for arm, metrics in values.items() for metric, column in metrics.items()}


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
    found = {}
    for start, end in zip(starts, np.r_[starts[1:], len(arm)], strict=True):
        column = [None if number != number else number for number in value[start:end].tolist()]
        task_config, method_config = arms[arm[start]]
        found[Cell(task_config, method_config, int(metric[start]))] = _of(column)
    return found


def _of(column: list[float | None]) -> Totals:
    """Totals of one cell's new values."""
    values = [value for value in column if value is not None]
    n, nonfinite = len(values), len(column) - len(values)
    if n == 0:
        return Totals(nonfinite=nonfinite)
    if n == 1:
        return Totals(1, nonfinite, values[0], 0.0, values[0], values[0])
    low, high = min(values), max(values)
    scale = 2.0**-64 if max(-low, high) > HUGE else 1.0  # a power of two: exact
    mean = min(max(math.fsum(value * scale for value in values) / n / scale, low), high)
    return Totals(n, nonfinite, mean, sum((value - mean) * (value - mean) for value in values), low, high)


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
