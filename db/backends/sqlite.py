"""SQLite: one file, write-ahead log, one writer at a time, readers never wait."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import QueuePool

from db.backends.base import Backend, Batch, Row
from db.errors import LedgerCorrupt, LedgerError, LedgerUnavailable
from db.values import iso

#: Seconds a writer waits for another writer. Groups commit in milliseconds; only a stuck process can use this up.
BUSY_SECONDS = 60.0


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in SQLite's URI mode `mode` (ro, rw or rwc) with explicit transactions."""
    uri = path.absolute().as_uri() + f"?mode={mode}"
    # isolation_level=None: the driver starts no transactions of its own, so BEGIN IMMEDIATE means what it says.
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, cached_statements=256)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        # NORMAL with a write-ahead log: a killed process loses nothing, a power cut at most the last groups, and the file stays sound.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
    except BaseException:
        connection.close()
        raise
    return connection


class SqliteBackend(Backend):
    """A ledger in the file `path`."""

    name = "sqlite"
    driver_error = sqlite3.Error
    now = "(strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00')"
    now_seconds = "((julianday('now') - 2440587.5) * 86400.0)"
    for_update = ""
    skip_locked = ""

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path, self.read_only, self.url = path, read_only, f"sqlite:///{path}"
        mode = "ro" if read_only else "rw"
        self.engine = create_engine("sqlite://", creator=lambda: connect(path, mode), poolclass=QueuePool, pool_size=1, max_overflow=4)
        event.listen(self.engine, "begin", self._begin)

    @staticmethod
    def _begin(connection: Connection) -> None:
        # A writer takes the lock first: a transaction that reads and then writes can otherwise fail with "database is locked" at once.
        connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("assay_read") else "BEGIN IMMEDIATE")

    def member(self, column: str, parameter: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(:{parameter}))"

    def keys(self, keys: Sequence[str] | Sequence[int]) -> Any:
        return json.dumps(list(keys))

    def time(self, time: datetime) -> Any:
        return iso(time)

    def lock_writes(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE has done it."""

    def insert(self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            places = ", ".join("?" * len(columns))
            connection.exec_driver_sql(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", list(rows))

    def update(self, connection: Connection, statement: str, rows: Sequence[Row]) -> None:
        if rows:
            connection.exec_driver_sql(statement, list(rows))

    def revision(self, connection: Connection) -> str | None:
        found = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").scalar()
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()) if found else None

    def translate(self, error: Exception) -> LedgerError | None:
        return explain(self.path, error)

    def batches(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> Iterator[Batch]:
        from db.backends.sqlite_query import batches

        return batches(self.path, sql, params, timeout, limit)

    def explain(self, sql: str, params: dict[str, Any] | None, timeout: float) -> list[str]:
        from db.backends.sqlite_query import plan

        return plan(self.path, sql, params, timeout)


#: What SQLite says, and what it means to a person.
UNAVAILABLE = {
    "unable to open database file": "can't be opened; check the path and the permissions of its folder",
    "readonly database": "can't be written; check the permissions of the file and of its folder",
    "database is locked": f"was locked by another process for more than {BUSY_SECONDS:.0f} s; end the process that holds it",
    "database or disk is full": "can't grow because the disk is full; free space and run the same command again",
    "disk I/O error": "can't be written or read: the disk reports an error; check free space and the file system",
}


def explain(path: Path, error: Exception) -> LedgerError | None:
    """The ledger's error for one of SQLite's; None when it is a defect of ours."""
    text = str(error)
    if isinstance(error, sqlite3.DatabaseError) and any(
        word in text for word in ("not a database", "malformed", "unsupported file format")
    ):
        return LedgerCorrupt(
            f"The ledger {path} is damaged or not a SQLite file ({text}); restore a backup (`assay db backup` makes them) or name another "
            "ledger with --db."
        )
    if isinstance(error, sqlite3.OperationalError):
        for word, why in UNAVAILABLE.items():
            if word in text:
                return LedgerUnavailable(f"The ledger {path} {why} ({text}).")
    return None


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
            backend = SqliteBackend(draft, read_only=False)
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
            leftover.unlink(missing_ok=True)
