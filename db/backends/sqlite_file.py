"""Connections to a SQLite file, and what its errors mean. Knows no SQLAlchemy, so that reading starts fast."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.errors import LedgerCorrupt, LedgerError, LedgerUnavailable

#: Seconds a writer waits for another writer. Groups commit in milliseconds; only a stuck process can use this up.
BUSY_SECONDS = 60.0


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in SQLite's URI mode `mode` (ro, rw or rwc) with explicit transactions; one that can only read, whatever the mode, when
    the file is `frozen`."""
    uri = path.absolute().as_uri() + ("?mode=ro&immutable=1" if frozen(path) else f"?mode={mode}")
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


def frozen(path: Path) -> bool:
    """Whether the file can be read only as one that nobody changes: on a read-only file system, or in a folder of somebody else who is not
    using it now, SQLite can't make the log that readers and writers share."""
    if os.access(path.parent, os.W_OK) or not path.exists():
        return False
    try:
        return path.with_name(path.name + "-wal").stat().st_size == 0
    except OSError:
        return True


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Raises LedgerUnavailable at the end of the block when a frozen file was changed during it: what was read may be a mixture."""
    before = path.stat() if frozen(path) else None
    yield
    if before is not None and ((now := path.stat()).st_mtime_ns, now.st_size) != (before.st_mtime_ns, before.st_size):
        raise LedgerUnavailable(f"The ledger {path} was changed while it was read without its owner's log; run the same command again.")


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
    if isinstance(error, sqlite3.IntegrityError):
        return LedgerError(f"The ledger {path} refuses what it was given: {text}.")
    if isinstance(error, sqlite3.OperationalError):
        for word, why in UNAVAILABLE.items():
            if word in text:
                return LedgerUnavailable(f"The ledger {path} {why} ({text}).")
    return None
