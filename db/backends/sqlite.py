"""SQLite: one file, write-ahead log, one writer at a time, readers never wait."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import QueuePool

from db.backends.base import Backend, Row
from db.backends.sqlite_file import connect, explain, unchanged
from db.backends.sqlite_surface import SqliteSurface
from db.errors import LedgerError, LedgerUnavailable
from db.values import iso, typed

if TYPE_CHECKING:
    import pyarrow

    from db.points import Points


MEASUREMENT = ("attempt_id", "metric_id", "value", "kind")
#: Attempts with the same metrics from which on a statement of their own pays.
FEW = 8
#: Rows per INSERT: halves the time per row; more gains nothing.
TOGETHER = 50


class SqliteBackend(Backend):
    """A ledger in the file `path`."""

    name = "sqlite"
    driver_error = sqlite3.Error
    now = "(strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00')"
    now_seconds = "((julianday('now') - 2440587.5) * 86400.0)"
    for_update = ""
    skip_locked = ""
    read_options: Mapping[str, Any] = {}

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"
        self.surface = SqliteSurface(path)
        self.engine = create_engine("sqlite://", creator=lambda: connect(path, "rw"), poolclass=QueuePool, pool_size=2, max_overflow=4)
        event.listen(self.engine, "begin", self._begin)
        self._writer: Connection | None = None

    def _begin(self, connection: Connection) -> None:
        if not self.driver(connection).in_transaction:  # `write` has begun its own
            connection.exec_driver_sql("BEGIN")

    @contextlib.contextmanager
    def write(self, exclusive: bool = True) -> Iterator[Connection]:
        """As everywhere, but on a connection that is kept, and begun and ended by the driver: where every attempt is committed alone,
        SQLAlchemy's part of a transaction would cost as much as the statements in it."""
        with self.errors():
            if self._writer is None:
                self._writer = self.engine.connect()
            driver = self.driver(self._writer)
            # The lock first: a transaction that reads and then writes can otherwise fail with "database is locked" at once.
            driver.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                driver.execute("COMMIT")
            finally:
                self._writer.rollback()  # SQLAlchemy's own view of it
                if driver.in_transaction:
                    driver.execute("ROLLBACK")

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        with unchanged(self.path), super().read() as connection:
            yield connection

    def dispose(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        super().dispose()

    def member(self, column: str, parameter: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(:{parameter}))"

    def keys(self, keys: Sequence[str] | Sequence[int]) -> Any:
        return json.dumps(list(keys))

    def time(self, time: datetime) -> Any:
        return iso(time)

    def times(self, column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
        import pyarrow.compute as pc

        return pc.strftime(column, "%Y-%m-%dT%H:%M:%S+00:00")

    def lock_writes(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE has done it."""

    def rows(self, connection: Connection, statement: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        found: list[Row] = self.driver(connection).execute(statement, params or {}).fetchall()
        return found

    def lookup(self, connection: Connection, table: str, columns: Sequence[str], keys: Sequence[Row]) -> dict[Row, int]:
        query = f"SELECT id FROM {table} WHERE {' AND '.join(f'{column} = ?' for column in columns)}"
        execute = self.driver(connection).execute
        return {key: row[0] for key in keys if (row := execute(query, key).fetchone()) is not None}

    def insert(self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if not rows:
            return
        execute = self.driver(connection).executemany
        start = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
        row = f"({', '.join('?' * len(columns))})"
        whole = len(rows) - len(rows) % TOGETHER
        if whole:
            pieces = (list(chain.from_iterable(rows[first : first + TOGETHER])) for first in range(0, whole, TOGETHER))
            execute(start + ", ".join([row] * TOGETHER), pieces)
        execute(start + row, rows[whole:])

    def insert_measurements(self, connection: Connection, attempts: Iterable[tuple[int, Sequence[int], Sequence[float]]]) -> None:
        rows = [(attempt, metric, *typed(value)) for attempt, *some in attempts for metric, value in zip(*some, strict=True)]
        self.insert(connection, "measurement", MEASUREMENT, rows)

    def insert_points(self, connection: Connection, pieces: Iterable[Points]) -> None:
        for points in pieces:
            self._insert_points(connection, points)

    def _insert_points(self, connection: Connection, points: Points) -> None:
        import numpy as np

        finite = np.isfinite(points.value)
        self.insert(connection, "measurement", MEASUREMENT, points.where(~finite).rows() if not finite.all() else [])
        for block in points.where(finite).blocks():
            if len(block.attempts) < FEW:  # its statement would cost more to compile than it saves
                self.insert(connection, "measurement", MEASUREMENT, points.where(np.isin(points.attempt, block.attempts) & finite).rows())
                continue
            for first in range(0, len(block.metrics), TOGETHER):
                # One statement per attempt that names the metrics: half the values to bind, a third of the time.
                rows = block.values[:, first : first + TOGETHER].tolist()
                for row, attempt in zip(rows, block.attempts.tolist(), strict=True):
                    row.append(attempt)
                metrics = block.metrics[first : first + TOGETHER]
                values = ", ".join(f"(?{len(metrics) + 1}, {metric}, ?{at}, 'finite')" for at, metric in enumerate(metrics, 1))
                statement = f"INSERT INTO measurement ({', '.join(MEASUREMENT)}) VALUES {values}"
                self.driver(connection).executemany(statement, rows)

    def insert_arrow(self, connection: Connection, table: str, rows: pyarrow.Table) -> None:
        self.insert(connection, table, rows.column_names, list(zip(*(_values(column) for column in rows.columns), strict=True)))

    def stream(self, connection: Connection, statement: str, size: int) -> Iterator[list[Row]]:
        cursor = self.driver(connection).execute(statement)
        while rows := cursor.fetchmany(size):
            yield rows

    def update(
        self, connection: Connection, table: str, changes: Mapping[str, str], keys: Mapping[str, str], rows: Sequence[Row], also: str = ""
    ) -> None:
        if rows:
            assignments = [f"{column} = ?" for column in changes] + ([also] if also else [])
            condition = " AND ".join(f"{column} = ?" for column in keys)
            self.driver(connection).executemany(f"UPDATE {table} SET {', '.join(assignments)} WHERE {condition}", rows)

    def translate(self, error: Exception) -> LedgerError | None:
        return explain(self.path, error)


def _values(column: pyarrow.ChunkedArray) -> list[Any]:
    """Python values of a column; numbers without NULLs go the fast way through numpy."""
    numeric = str(column.type) in ("int64", "double")
    values: list[Any] = column.to_numpy().tolist() if numeric and not column.null_count else column.to_pylist()
    return values


def create_file(path: Path) -> None:
    """Make an empty ledger at `path` atomically: it is built under another name and linked into place, so that a killed creator leaves no
    half-made ledger and of several creators exactly one wins."""
    from db.migrate import migrate

    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        try:
            connection = connect(draft, "rwc")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.close()
            backend = SqliteBackend(draft)
            with backend.write() as writer:
                migrate(writer)
            backend.dispose()
        except (sqlite3.Error, LedgerUnavailable) as error:
            why = "is not writable" if path.parent.is_dir() else "does not exist"
            raise LedgerUnavailable(f"The ledger {path} can't be created: its folder {path.parent} {why} ({error}).") from error
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was faster; its ledger is as good
        except OSError:  # file systems without hard links
            if not path.exists():
                os.replace(draft, path)
    finally:
        for leftover in (draft, draft.with_name(draft.name + "-wal"), draft.with_name(draft.name + "-shm")):
            with contextlib.suppress(OSError):  # the folder may be none; the error that says so is on its way
                leftover.unlink(missing_ok=True)
