"""The leaderboard's running totals: count, mean and spread per (task configuration, method configuration, metric).

They change in the transaction that accepts an attempt, so the leaderboard over ten million measurements reads thousands of rows.
Merging follows Chan, Golub and LeVeque (1983): stable whatever the order and the size of the groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from db.points import Block, Floats, Integers, Points

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.backends.base import Backend, Row


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
CHANGES = {
    "n": "bigint", "nonfinite": "bigint", "mean": "double precision", "m2": "double precision", "sd": "double precision",
    "low": "double precision", "high": "double precision",
}  # fmt: skip
KEYS = dict.fromkeys(COLUMNS[:3], "bigint")


@dataclass(frozen=True, slots=True)
class Cells:
    """Totals as columns of equal length. `mean`, `m2`, `low` and `high` mean nothing where `n` is 0."""

    task_config: Integers
    method_config: Integers
    metric: Integers
    n: Integers
    nonfinite: Integers
    mean: Floats
    m2: Floats
    low: Floats
    high: Floats

    def rows(self) -> list[tuple[object, ...]]:
        """Values of the columns of `summary`, in `COLUMNS`' order."""
        some, spread = self.n > 0, np.isfinite(self.m2)
        with np.errstate(all="ignore"):
            sd = np.sqrt(self.m2 / (self.n - 1))
        columns = (
            self.task_config, self.method_config, self.metric, self.n, self.nonfinite, _or_none(self.mean, some),
            _or_none(self.m2, some & spread), _or_none(sd, (self.n > 1) & spread), _or_none(self.low, some), _or_none(self.high, some),
        )  # fmt: skip
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def totals(self) -> dict[Cell, Totals]:
        """By cell; what stands there twice is merged."""
        found: dict[Cell, Totals] = {}
        columns = (getattr(self, name).tolist() for name in self.__slots__)
        for task, method, metric, n, nonfinite, *moments in zip(*columns, strict=True):
            new = Totals(n, nonfinite, *moments) if n else Totals(nonfinite=nonfinite)
            found.setdefault(Cell(task, method, metric), Totals()).merge(new)
        return found


def _or_none(column: Floats, known: NDArray[np.bool_]) -> NDArray[Any]:
    return column if known.all() else np.where(known, column, None)  # type: ignore[call-overload]


def collect(points: Points, arm: Integers, arms: Sequence[tuple[int, int]]) -> Cells | None:
    """Totals of the points whose `arm` (an index into `arms`: ids of task and method configuration) is not negative; None without any."""
    mask = arm >= 0
    points, arm = points.where(mask), arm[mask]
    parts = [_of_block(block, arm[block.starts]) for block in points.blocks()]
    if not parts:
        return None
    codes, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    ids = np.array(arms, dtype=np.int64)[codes]
    return Cells(ids[:, 0], ids[:, 1], *columns)


def merged(parts: Sequence[Cells | None]) -> Cells | None:
    """All parts as one, each cell once."""
    some = [part for part in parts if part is not None]
    if len(some) < 2:
        return some[0] if some else None
    names = Cells.__slots__
    columns = {name: np.concatenate([getattr(part, name) for part in some]) for name in names}
    order = np.lexsort(tuple(columns[name] for name in reversed(names[:3])))
    columns = {name: column[order] for name, column in columns.items()}
    new = np.r_[True, np.any([columns[name][1:] != columns[name][:-1] for name in names[:3]], axis=0)]
    starts = np.flatnonzero(new)
    if len(starts) == len(new):
        return Cells(**columns)
    sizes = np.diff(np.r_[starts, len(new)])
    n, some_n = np.add.reduceat(columns["n"], starts), columns["n"] > 0
    low, high = (function.reduceat(columns[name], starts) for name, function in (("low", np.minimum), ("high", np.maximum)))
    with np.errstate(all="ignore"):
        weighted = np.where(some_n, columns["n"] * columns["mean"], 0.0)
        mean = np.clip(np.add.reduceat(weighted, starts) / n, low, high)
        apart = columns["n"] * (columns["mean"] - np.repeat(mean, sizes)) ** 2
        m2 = np.add.reduceat(np.where(some_n, columns["m2"] + apart, 0.0), starts)
        huge = np.maximum(-low, high) > HUGE / n
    for at in np.flatnonzero(huge & (n > 0) & (sizes > 1)):  # sums may overflow: one after the other, as a running ledger does
        total = Totals()
        for row in range(starts[at], starts[at] + sizes[at]):
            if columns["n"][row]:
                total.merge(Totals(int(columns["n"][row]), 0, *(float(columns[name][row]) for name in ("mean", "m2", "low", "high"))))
        mean[at], m2[at] = total.mean, total.m2
    nonfinite = np.add.reduceat(columns["nonfinite"], starts)
    task, method, metric = (columns[name][starts] for name in names[:3])
    return Cells(task, method, metric, n, nonfinite, mean, m2, low, high)


def _of_block(block: Block, arm: Integers) -> tuple[Any, ...]:
    """(arm, metric, n, nonfinite, mean, m2, low, high) per cell of a block."""
    order = np.argsort(arm, kind="stable")
    arm, values = arm[order], block.values[order]
    starts = np.flatnonzero(np.r_[True, arm[1:] != arm[:-1]])
    sizes = np.diff(np.r_[starts, len(arm)])
    finite = np.isfinite(values)
    whole = bool(finite.all())
    n = np.repeat(sizes[:, None], values.shape[1], axis=1) if whole else np.add.reduceat(finite.astype(np.int64), starts)
    numbers = values if whole else np.where(finite, values, 0.0)
    low = np.minimum.reduceat(values if whole else np.where(finite, values, np.inf), starts)
    high = np.maximum.reduceat(values if whole else np.where(finite, values, -np.inf), starts)
    with np.errstate(all="ignore"):
        mean = np.clip(np.add.reduceat(numbers, starts) / n, low, high)  # rounding can push the mean of equal values beyond them
        deviations = (values - np.repeat(mean, sizes, axis=0)) ** 2
        m2 = np.add.reduceat(deviations if whole else np.where(finite, deviations, 0.0), starts)
        huge = (n > 0) & (np.maximum(-low, high) > HUGE)
    for row, column in zip(*np.nonzero(huge), strict=True):  # the slow way knows how to sum these
        numbers_of = values[starts[row] : starts[row] + sizes[row], column].tolist()
        slow = _of([number if math.isfinite(number) else None for number in numbers_of])
        mean[row, column], m2[row, column] = slow.mean, slow.m2
    codes, metrics = np.broadcast_arrays(arm[starts][:, None], np.array(block.metrics))
    return tuple(column.ravel() for column in (codes, metrics, n, sizes[:, None] - n, mean, m2, low, high))


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


def add(backend: Backend, connection: Connection, new: Cells | None) -> None:
    """Merge `new` into the stored totals, in the caller's exclusive transaction."""
    if new is None:
        return
    stored = _stored(backend, connection, np.unique(new.task_config).tolist(), np.unique(new.method_config).tolist())
    rows = new.rows()
    if not stored and len({row[:3] for row in rows}) == len(rows):
        backend.insert(connection, "summary", COLUMNS, rows)
        return
    _merge(backend, connection, stored, new.totals())


def add_few(backend: Backend, connection: Connection, values: Sequence[tuple[Cell, float]]) -> None:
    """What `collect` and `add` do, for a handful of values."""
    columns: dict[Cell, list[float | None]] = {}
    for cell, value in values:
        columns.setdefault(cell, []).append(value if math.isfinite(value) else None)
    if columns:
        stored = _stored(backend, connection, list({cell.task_config for cell in columns}), list({cell.method_config for cell in columns}))
        _merge(backend, connection, stored, {cell: _of(column) for cell, column in columns.items()})


def _stored(backend: Backend, connection: Connection, tasks: Sequence[int], methods: Sequence[int]) -> list[Row]:
    """Stored totals of these configurations, without `sd`."""
    query = (
        "SELECT task_config_id, method_config_id, metric_id, n, nonfinite, mean, m2, low, high FROM summary "
        f"WHERE {backend.member('task_config_id', 'tasks')} AND {backend.member('method_config_id', 'methods')}"
    )
    return backend.rows(connection, query, {"tasks": backend.keys(tasks), "methods": backend.keys(methods)})


def _merge(backend: Backend, connection: Connection, stored: Sequence[Row], inserts: dict[Cell, Totals]) -> None:
    """Update the `stored` totals that `inserts` adds to; what is left of it is new."""
    updates = []
    for task, method, metric, n, nonfinite, mean, m2, low, high in stored:
        cell = Cell(task, method, metric)
        more = inserts.pop(cell, None)
        if more is not None:
            known = Totals(n, nonfinite, mean, math.inf if m2 is None else m2, low, high) if n else Totals(nonfinite=nonfinite)
            known.merge(more)
            row = known.row(cell)
            updates.append((*row[3:], *row[:3]))
    backend.update(connection, "summary", CHANGES, KEYS, updates)
    backend.insert(connection, "summary", COLUMNS, [totals.row(cell) for cell, totals in sorted(inserts.items())])
