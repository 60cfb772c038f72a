"""The scorer's own database: hidden labels, the losses of the best submission, and what was answered. SQLite, mode 0600.

Whoever may read this file knows the labels: keep it in an account that submitters can't use. The ledger holds none of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reports.errors import BadQuestion, ReportError

#: Raised when a table changes; written to the file's `user_version`.
VERSION = 1

_SCHEMA = f"""
CREATE TABLE board (
    name TEXT PRIMARY KEY, uid TEXT NOT NULL UNIQUE, task TEXT NOT NULL, params TEXT NOT NULL, labels BLOB NOT NULL,
    development BLOB NOT NULL, step REAL NOT NULL, budget INTEGER NOT NULL, share INTEGER NOT NULL, questions INTEGER NOT NULL,
    noise INTEGER NOT NULL, created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE TABLE query (
    board TEXT NOT NULL REFERENCES board(name), seq INTEGER NOT NULL, mechanism TEXT NOT NULL, submitter TEXT NOT NULL, method TEXT,
    note TEXT NOT NULL, hash TEXT NOT NULL, shown REAL NOT NULL, released INTEGER NOT NULL CHECK (released IN (0, 1)),
    threshold REAL NOT NULL, budget_left INTEGER NOT NULL, PRIMARY KEY (board, seq), UNIQUE (board, hash));
CREATE TABLE best (board TEXT PRIMARY KEY REFERENCES board(name), losses BLOB NOT NULL);
PRAGMA user_version = {VERSION};
"""


def connect(path: str | os.PathLike[str], create: bool = False) -> sqlite3.Connection:
    """The store at `path`; with `create` an empty one is made, readable by its owner only.

    Raises ReportError when there is none, when it is something else, or when others may read it.
    """
    place = Path(path)
    fresh = False
    try:
        if create and not place.exists():
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # private before the first label is in it
            fresh = True
        elif not place.is_file():
            raise ReportError(f"There are no guarded boards at {place}; `assay board create` makes one, --guard names another file.")
        if os.name == "posix" and (mode := place.stat().st_mode & 0o077):
            raise ReportError(f"Others may read the hidden labels in {place} (mode {mode:03o} beyond its owner); run chmod 600 {place}.")
        db = sqlite3.connect(place, isolation_level=None, timeout=30)
        if fresh:
            db.executescript("PRAGMA journal_mode = WAL;" + _SCHEMA)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
    except OSError as error:
        raise ReportError(f"The guarded boards at {place} can't be opened: {error.strerror or error}.") from error
    except sqlite3.Error as error:
        raise ReportError(f"{place} does not hold guarded boards: {error}.") from error
    if found != VERSION:
        db.close()
        raise ReportError(f"{place} does not hold guarded boards of this version of Assay (found {found}, needs {VERSION}).")
    return db


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """One exclusive transaction, undone when an error leaves it. Raises ReportError when the store can't be written."""
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise ReportError(f"The store of the guarded boards can't be written: {error}.") from error


def first(db: sqlite3.Connection, sql: str, *values: Any) -> Any:
    """The first row, or None."""
    return db.execute(sql, values).fetchone()


def unknown(db: sqlite3.Connection, board: str) -> BadQuestion:
    """The error for a board that the store does not hold."""
    names = ", ".join(row[0] for row in db.execute("SELECT name FROM board ORDER BY name LIMIT 20")) or "none yet"
    return BadQuestion(f"No guarded board is called {board!r}; there are: {names}.")
