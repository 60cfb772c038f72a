"""PostgreSQL through psycopg 3: several coordinators on several machines share one ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from db.backends.base import Backend, Batch, Row
from db.errors import LedgerCorrupt, LedgerError, LedgerUnavailable

try:
    import psycopg
except ImportError as error:
    raise LedgerUnavailable(
        "A postgresql:// ledger needs the driver psycopg, which is not installed; run `pip install 'assay-bench[postgres]'`."
    ) from error

if TYPE_CHECKING:
    from db.backends.postgresql_query import Reader

#: Key of the advisory lock that admits one inserting transaction at a time (the bytes "assay" as a number; locks are per database).
WRITE_LOCK = int.from_bytes(b"assay", "big")
#: Milliseconds that a statement waits for a lock. Groups commit in milliseconds; only a stuck process can use this up.
LOCK_TIMEOUT = 60_000
#: Seconds to reach the server.
CONNECT_TIMEOUT = 10
#: The role that guarded queries run as: it may read the public views and nothing else.
READER = "assay_reader"


class PostgresBackend(Backend):
    """A ledger in the current schema of a PostgreSQL database."""

    name = "postgresql"
    driver_error = psycopg.Error
    now = "clock_timestamp()"
    now_seconds = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    for_update = " FOR UPDATE OF {table}"
    skip_locked = " FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str, read_only: bool) -> None:
        try:
            parsed = make_url(url).set(drivername="postgresql+psycopg")
        except ArgumentError:
            raise LedgerUnavailable(f"{url!r} is not a URL; a PostgreSQL ledger is named postgresql://user@host/database.") from None
        self.read_only = read_only
        self.url = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
        self.conninfo = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
        # pre_ping: after a restart of the server the next transaction gets a fresh connection instead of an error.
        self.engine = create_engine(
            parsed, poolclass=QueuePool, pool_size=1, max_overflow=4, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_TIMEOUT}
        )
        event.listen(self.engine, "connect", _prepare)
        self._reader: Reader | None = None

    @classmethod
    def open(cls, url: str, create: bool, read_only: bool) -> PostgresBackend:
        """The backend for `url`, its tables made first when `create` says so and they are missing."""
        backend = cls(url, read_only)
        with backend.read() as connection:
            missing = backend.revision(connection) is None
        if missing and not create:
            backend.dispose()
            raise LedgerUnavailable(
                f"The database {backend.url} holds no ledger yet; `assay run SUITE --db URL` creates one, or name another with --db or "
                "ASSAY_DB."
            )
        if missing:
            from db.migrate import migrate

            with backend.write() as connection:
                if backend.revision(connection) is None:  # another process may have been faster while this one waited for the lock
                    migrate(connection)
                    grant_reader(connection)
        return backend

    def member(self, column: str, parameter: str) -> str:
        return f"{column} = ANY(:{parameter})"

    def keys(self, keys: Sequence[str] | Sequence[int]) -> Any:
        return list(keys)

    def time(self, time: datetime) -> Any:
        return time

    def lock_writes(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

    def insert(self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if not rows:
            return
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def update(self, connection: Connection, statement: str, rows: Sequence[Row]) -> None:
        if rows:
            connection.exec_driver_sql(statement.replace("?", "%s"), list(rows))

    def revision(self, connection: Connection) -> str | None:
        if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is None:
            return None
        return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())

    def translate(self, error: Exception) -> LedgerError | None:
        return explain(self.url, error)

    def batches(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> Iterator[Batch]:
        return self.reader.batches(sql, params, timeout, limit)

    def explain(self, sql: str, params: dict[str, Any] | None, timeout: float) -> list[str]:
        return self.reader.explain(sql, params, timeout)

    @property
    def reader(self) -> Reader:
        """The connection of guarded queries, made on first use."""
        if self._reader is None:
            from db.backends.postgresql_query import Reader

            self._reader = Reader(self.url, self.conninfo)
        return self._reader

    def dispose(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        super().dispose()


def _prepare(connection: Any, record: Any) -> None:
    connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT}")
    connection.execute("SET timezone = 'UTC'")
    connection.commit()


def grant_reader(connection: Connection) -> None:
    """Give the reader role the public views, making the role if that is allowed; without it, guarded queries run in a read-only transaction
    under the caller's own grants. To be repeated after every upgrade, because it recreates the views."""
    from db.views import VIEWS

    try:
        with connection.begin_nested():
            if not connection.exec_driver_sql(f"SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = '{READER}'").scalar():
                connection.exec_driver_sql(f"CREATE ROLE {READER} NOLOGIN")
            schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {READER}")
            connection.exec_driver_sql(f"GRANT SELECT ON {', '.join(VIEWS)} TO {READER}")
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise


def explain(url: str, error: Exception) -> LedgerError | None:
    """The ledger's error for one of psycopg's; None when it is a defect of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, psycopg.errors.DataCorrupted | psycopg.errors.IndexCorrupted):
        return LedgerCorrupt(f"The ledger {url} is damaged ({text}); restore a backup.")
    if isinstance(error, psycopg.errors.InvalidCatalogName):
        return LedgerUnavailable(
            f"The database of {url} does not exist ({text}); make it with `createdb`, then run the same command again."
        )
    if isinstance(error, psycopg.errors.DiskFull):
        return LedgerUnavailable(f"The server of {url} has no space left ({text}); free some and run the same command again.")
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return LedgerUnavailable(f"Another process holds a lock on {url} for more than {LOCK_TIMEOUT // 1000} s; end it ({text}).")
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        return LedgerUnavailable(f"This user may not write to {url} ({text}); use another user, or grant it the tables.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return LedgerUnavailable(f"The ledger {url} can't be reached ({text}); check that the server runs and the URL is right.")
    return None
