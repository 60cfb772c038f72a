"""Reading the public views of a PostgreSQL ledger, read-only by construction.

Five independent guards: the role may only select from the public views (where there is none, `postgresql_check` looks at the parse tree);
the transaction is read-only and always rolled back; the text runs as `DECLARE … CURSOR FOR`, which the grammar allows for SELECT alone,
over the extended protocol, which takes one command alone; the server ends it at its time-out; so does the client. `DISCARD ALL` afterwards
undoes settings, locks and listeners.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from db.backends.postgresql_check import check
from db.backends.postgresql_server import CONNECT_TIMEOUT, MARKED, READER, explain
from db.errors import LedgerError, LedgerUnavailable, QueryRefused
from db.surface import BATCH, Batch, Surface
from db.values import without_password
from db.views import VIEWS

#: Most seconds that the server's statement_timeout can hold.
LONGEST = (2**31 - 1) / 1000

_HOST = r"(?:\[[0-9A-Fa-f:.%]*\]|[^][/@?:,]*)(?::\d*)?"
#: What libpq takes for a user, hosts, a database and parameters, where no part of a password can be meant.
_URL = re.compile(rf"postgresql://(?:[^/@]*@)?{_HOST}(?:,{_HOST})*(?:/[^/@?]*)?(?:\?.*)?")


def named(url: str) -> tuple[str, str]:
    """(the URL as people may see it, without its password; the URL to connect with). Raises LedgerUnavailable for what is no URL."""
    conninfo = re.sub(r"^postgres(ql)?(\+psycopg)?(?=:)", "postgresql", url, flags=re.IGNORECASE)
    try:
        if not _URL.fullmatch(conninfo):
            raise psycopg.ProgrammingError
        conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:  # its text quotes the URL
        raise LedgerUnavailable(
            "The ledger's postgresql:// URL can't be understood; write postgresql://user@host:port/database, and the password in "
            "PGPASSWORD, in ~/.pgpass or percent-encoded after user: (`/` is %2F, `@` is %40)."
        ) from None
    return without_password(conninfo), conninfo


class PostgresSurface(Surface):
    """The public views through one connection, made on first use, and made anew when the server went away."""

    def __init__(self, url: str, conninfo: str) -> None:
        self.url, self.conninfo = url, conninfo
        self._connection: psycopg.Connection[Any] | None = None

    def batches(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> Iterator[Batch]:
        statement, values = _bound(sql, params)
        with self._guarded(statement, values, timeout) as cursor:
            cursor.execute(b"DECLARE assay NO SCROLL CURSOR FOR " + statement.encode(), values, binary=True)
            left = limit
            while True:
                size = BATCH if left is None else min(BATCH, left)
                cursor.execute(f"FETCH {size} FROM assay")
                rows = cursor.fetchall()
                if not cursor.description:
                    raise QueryRefused("The query selects no columns; name some after SELECT.")
                yield [column.name for column in cursor.description], rows
                if left is not None:
                    left -= len(rows)
                if len(rows) < size or left == 0:
                    return

    def explain(self, sql: str, params: dict[str, Any] | None, timeout: float) -> list[str]:
        statement, values = _bound(sql, params)
        with self._guarded(statement, values, timeout) as cursor:
            cursor.execute(b"DECLARE assay NO SCROLL CURSOR FOR " + statement.encode(), values, binary=True)  # refuses all but SELECT
            cursor.execute(b"EXPLAIN " + statement.encode(), values, binary=True)
            return [row[0] for row in cursor.fetchall()]

    def revision(self) -> str | None:
        connection = self._connect()
        try:
            row = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
            if row is None or row[0] is None:
                return None
            try:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            except psycopg.errors.InsufficientPrivilege:
                row = connection.execute(f"SELECT substring(obj_description(to_regclass('{MARKED}')) FROM '[0-9]+$')").fetchone()
                if row is None or row[0] is None:
                    raise LedgerUnavailable(_ask_for_access(self.url)) from None
            return None if row is None else str(row[0])
        except psycopg.Error as error:
            raise explain(self.url, error) or LedgerError(f"The ledger {self.url} can't be read: {error}.") from error

    def member(self, column: str, parameter: str) -> str:
        return f"{column} = ANY(:{parameter})"

    def keys(self, keys: Sequence[str]) -> Any:
        return list(keys)

    @contextlib.contextmanager
    def _guarded(self, statement: str, values: dict[str, Any] | None, timeout: float) -> Iterator[psycopg.Cursor[Any]]:
        connection, timeout, reader = self._connect(), min(timeout, LONGEST), False
        late = threading.Event()

        def cancel() -> None:
            late.set()
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=5)

        # A statement can switch the server's time-out off for what follows it; the client's can't be reached from SQL.
        timer = threading.Timer(timeout + 0.5, cancel)
        timer.daemon = True
        deadline = time.monotonic() + timeout
        try:
            with connection.cursor() as cursor:
                reader = self._may_become_reader(cursor)
                if not reader:
                    check(connection, statement, values, timeout)
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                cursor.execute(f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))}")
                if reader:
                    cursor.execute(f"SET LOCAL ROLE {READER}")
                timer.start()
                yield cursor
                if late.is_set() or time.monotonic() > deadline + 1:
                    raise QueryRefused(_too_slow(timeout))
        except psycopg.Error as error:
            raise _refusal(self.url, error, timeout, reader) from error
        except UnicodeEncodeError as error:
            raise QueryRefused(f"The query can't run: {error}.") from None
        finally:
            timer.cancel()
            self._clean(connection)

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            try:
                self._connection = psycopg.connect(self.conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT)
                self._connection.prepare_threshold = None  # DISCARD ALL drops prepared statements
                self._connection.execute("SET timezone = 'UTC'")
            except psycopg.Error as error:
                raise explain(self.url, error) or LedgerError(str(error)) from error
        else:
            try:
                self._connection.execute("SELECT 1")
            except psycopg.OperationalError:  # the server restarted since
                self._connection.close()
                return self._connect()
        return self._connection

    def _may_become_reader(self, cursor: psycopg.Cursor[Any]) -> bool:
        right = "SET" if cursor.connection.info.server_version >= 160_000 else "MEMBER"
        cursor.execute(
            "SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = %s AND pg_catalog.pg_has_role(current_user, oid, %s) "
            # a restored database may lack its grants
            "AND pg_catalog.has_table_privilege(oid, to_regclass(%s), 'SELECT')",
            [READER, right, MARKED],
        )
        row = cursor.fetchone()
        return bool(row and row[0])

    def _clean(self, connection: psycopg.Connection[Any]) -> None:
        try:
            connection.execute("ROLLBACK")
            connection.execute("DISCARD ALL")
            connection.execute("SET timezone = 'UTC'")
        except psycopg.Error:
            connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


#: What may hold a colon that starts no parameter, and a parameter.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|::|(?<![\w:]):([A-Za-z_]\w*)|%", re.DOTALL)


def compiled(sql: str) -> tuple[str, set[str]]:
    """The statement in psycopg's parameter style, and its parameters. `:name` in quotes and comments, and `::type`, stay as they are."""
    names: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0].replace("%", "%%")
        names.add(name)
        return f"%({name})s"

    return _TOKEN.sub(replace, sql), names


def _bound(sql: str, params: dict[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    if "\0" in sql:
        raise QueryRefused("The query can't run: it contains a null character.")
    if not params:
        return sql, None
    statement, names = compiled(sql)
    missing = sorted(names - params.keys())
    if missing:
        raise QueryRefused(f"The query names the parameter :{missing[0]}, but no value was given for it.")
    return statement, {name: params[name] for name in names}


def _ask_for_access(url: str) -> str:
    return f"This user may not read {url}; ask whoever made it to run `assay db upgrade` and `GRANT {READER} TO` you."


def _too_slow(timeout: float) -> str:
    return f"The query took longer than {timeout:g} s and was ended; narrow it, or raise the limit with --timeout."


def _refusal(url: str, error: psycopg.Error, timeout: float, reader: bool) -> LedgerError:
    """The sentence for what PostgreSQL said, to the role for readers or to the user."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    if isinstance(error, psycopg.errors.QueryCanceled):
        return QueryRefused(_too_slow(timeout))
    denied = re.search(r"denied for view (\w+)", said)
    if denied and denied[1] in VIEWS and not reader:
        return LedgerUnavailable(_ask_for_access(url))
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        return QueryRefused(f"The query was refused ({said}): only SELECT over the public views may run here: {', '.join(VIEWS)}.")
    if 'at or near ":"' in said:
        return QueryRefused("The query names a parameter, but no value was given for it; `-p NAME=VALUE` gives one.")
    if "multiple commands" in said:
        return QueryRefused("Only one statement may run at a time; remove what follows the first semicolon.")
    if isinstance(error, psycopg.errors.UndefinedTable):
        return QueryRefused(f"{said[0].upper()}{said[1:]}; the public views are {', '.join(VIEWS)}.")
    if isinstance(error, psycopg.OperationalError) and not isinstance(error, psycopg.errors.ProgramLimitExceeded):
        known = explain(url, error)
        if known is not None:
            return known
    return QueryRefused(f"The query can't run: {said}.")
