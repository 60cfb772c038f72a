"""Reading the public views of a SQLite ledger, read-only by construction.

Five independent guards: the query must make sense in an empty database that holds the views' names and no private table; the file is opened
with mode=ro; `query_only` is on; an authorizer allows only SELECT, the public views and harmless functions; a progress handler ends a
statement at its deadline. `sqlite3` itself refuses more than one statement per call.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from db.backends.sqlite_file import connect, explain, unchanged
from db.errors import LedgerError, QueryRefused
from db.surface import BATCH, Batch, Surface
from db.views import VIEWS

#: Virtual-machine steps between two looks at the clock: about a millisecond.
STEPS = 20_000
#: Functions that reach beyond the database or hand out its internals.
FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
#: A single value may be this long in bytes: 1 MB error texts pass, `zeroblob(1e9)` does not.
MAX_VALUE = 64 * 2**20
#: The public views and nothing behind them.
EMPTY = "".join(
    f"CREATE VIEW {name} AS SELECT {', '.join(f'NULL AS {column}' for column in view.columns)};" for name, view in VIEWS.items()
)


def authorize(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    """SQLite's authorizer callback: what a statement on the public surface may do."""
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_READ:
        # `source` names the innermost view that asks for the column: base tables are reached through views only. (Or a common table
        # expression: `check` has seen to it that there is nothing private in one.) An empty column means that no column is read (count(*),
        # a joined table that the view does not need); SQLite then names no view, and nothing leaks.
        public = (first or "").lower() in (*VIEWS, "json_each", "json_tree") or (source or "").lower() in VIEWS or not second
        return sqlite3.SQLITE_OK if public else sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def authorize_names(action: int, first: str | None, second: str | None, database: str | None, source: str | None) -> int:
    """The authorizer of the empty database, where no view needs a table."""
    return authorize(action, first, second, database, None)


def check(sql: str, params: dict[str, Any]) -> None:
    """Raises sqlite3.Error unless `sql` compiles where the public views are all there is: SQLite's own parser says what it refers to."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(EMPTY)
        empty.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
        empty.set_authorizer(authorize_names)
        empty.execute(sql if sql.lstrip()[:7].upper() == "EXPLAIN" else f"EXPLAIN {sql}", params)


def guarded(path: Path, deadline: float) -> sqlite3.Connection:
    """A connection that can only read the public views, and only until `deadline` (time.monotonic)."""
    connection = connect(path, "ro")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    # Their first use declares them in the (in-memory) schema, which the authorizer could not tell from writing.
    connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
    connection.set_authorizer(authorize)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    return connection


class SqliteSurface(Surface):
    """The public views of the ledger in the file `path`; a fresh connection per query, because opening one takes microseconds."""

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"

    def batches(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> Iterator[Batch]:
        with self._statement(sql, params, timeout) as cursor:
            if cursor.description is None:
                raise QueryRefused("Only a SELECT (or WITH … SELECT) may run here; the ledger is read-only.")
            names = [column[0] for column in cursor.description]
            left = limit
            while True:
                size = BATCH if left is None else min(BATCH, left)
                rows = cursor.fetchmany(size)
                yield names, rows
                if left is not None:
                    left -= len(rows)
                if len(rows) < size or left == 0:
                    return

    def explain(self, sql: str, params: dict[str, Any] | None, timeout: float) -> list[str]:
        with self._statement(f"EXPLAIN QUERY PLAN {sql}", params, timeout) as cursor:
            depth = {0: -1}
            lines = []
            for node, parent, _, what in cursor.fetchall():
                depth[node] = depth.get(parent, -1) + 1
                lines.append("  " * depth[node] + what)
            return lines

    def revision(self) -> str | None:
        try:
            with closing(connect(self.path, "ro")) as connection:
                if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()[0]:
                    return None
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
                return None if row is None else str(row[0])
        except sqlite3.Error as error:
            raise explain(self.path, error) or LedgerError(f"The ledger {self.path} can't be read: {error}.") from error

    def member(self, column: str, parameter: str) -> str:
        return f"{column} IN (SELECT value FROM json_each(:{parameter}))"

    def keys(self, keys: Sequence[str]) -> Any:
        return json.dumps(list(keys))

    def close(self) -> None:
        """Connections end with their queries."""

    @contextmanager
    def _statement(self, sql: str, params: dict[str, Any] | None, timeout: float) -> Iterator[sqlite3.Cursor]:
        deadline = time.monotonic() + timeout
        try:
            with unchanged(self.path), closing(guarded(self.path, deadline)) as connection:
                check(sql, params or {})
                yield connection.execute(sql, params or {})
        except (sqlite3.Error, sqlite3.Warning, OverflowError, MemoryError, UnicodeEncodeError) as error:
            if "interrupted" in str(error) and time.monotonic() < deadline:  # what SQLite makes of a Ctrl-C in the progress handler
                raise KeyboardInterrupt from None
            raise (explain(self.path, error) or refusal(str(error) or type(error).__name__, timeout)) from error


def refusal(text: str, timeout: float) -> QueryRefused:
    """The sentence for what SQLite said."""
    if "interrupted" in text:
        return QueryRefused(f"The query took longer than {timeout:g} s and was ended; narrow it, or raise the limit with --timeout.")
    if "not authorized" in text or "prohibited" in text or "access to" in text:
        return QueryRefused(f"The query was refused ({text}): only SELECT over the public views may run here: {', '.join(VIEWS)}.")
    if "one statement at a time" in text:
        return QueryRefused("Only one statement may run at a time; remove what follows the first semicolon.")
    if "no such table" in text:
        return QueryRefused(f"{text[0].upper()}{text[1:]}; the public views are {', '.join(VIEWS)}.")
    return QueryRefused(f"The query can't run: {text.rstrip('.')}.")
