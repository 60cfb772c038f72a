"""PostgreSQL through psycopg 3: several coordinators on several machines share one ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.copy import QueuedLibpqWriter
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from db.backends.base import Backend, Row
from db.backends.postgresql_server import CONNECT_TIMEOUT, LOCK_TIMEOUT, MARKED, READER, explain
from db.backends.postgresql_surface import PostgresSurface, compiled, named
from db.errors import LedgerError, LedgerUnavailable
from db.revisions import HEAD

if TYPE_CHECKING:
    import pyarrow

    from db.points import Block, Points

#: Key of the advisory lock that admits one inserting transaction at a time (the bytes "assay" as a number; locks are per database).
WRITE_LOCK = int.from_bytes(b"assay", "big")


MEASUREMENTS = ("attempt_id", "metric_ids", "numbers")
#: Measurements per piece of a COPY.
PIECE = 100_000
#: PostgreSQL's numbers for the types of the items (pg_type.oid).
INTEGER, DOUBLE = 23, 701


class PostgresBackend(Backend):
    """A ledger in the current schema of a PostgreSQL database."""

    name = "postgresql"
    driver_error = psycopg.Error
    now = "clock_timestamp()"
    now_seconds = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    for_update = " FOR UPDATE OF {table}"
    skip_locked = " FOR UPDATE SKIP LOCKED"
    # The default, READ COMMITTED, would show each statement another moment.
    read_options: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    def __init__(self, url: str) -> None:
        self.url, self.conninfo = named(url)

        def connect() -> psycopg.Connection[Any]:
            return psycopg.connect(self.conninfo, connect_timeout=CONNECT_TIMEOUT)

        # pre_ping: after a restart of the server the next transaction gets a fresh connection instead of an error.
        self.engine = create_engine(
            "postgresql+psycopg://", creator=connect, poolclass=QueuePool, pool_size=1, max_overflow=4, pool_pre_ping=True
        )
        event.listen(self.engine, "connect", _prepare)
        self.surface = PostgresSurface(self.url, self.conninfo)

    @classmethod
    def open(cls, url: str, create: bool) -> PostgresBackend:
        """The backend for `url`, its tables made first when `create` says so and they are missing."""
        backend = cls(url)
        try:
            if backend.surface.revision() is None:
                if not create:
                    raise LedgerUnavailable(
                        f"The database {backend.url} holds no ledger yet; `assay run SUITE --db URL` creates one, or name another with "
                        "--db or ASSAY_DB."
                    )
                backend._create()
        except BaseException:
            backend.dispose()
            raise
        return backend

    def _create(self) -> None:
        from db.migrate import migrate

        with self.write() as connection:
            if self.surface.revision() is None:  # another process may have been faster while this one waited for the lock
                encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
                if encoding != "UTF8":
                    raise LedgerUnavailable(f"The database {self.url} has the encoding {encoding}; name one made with ENCODING 'UTF8'.")
                migrate(connection)
                grant_reader(connection)

    def member(self, column: str, parameter: str) -> str:
        return f"{column} = ANY(:{parameter})"

    def keys(self, keys: Sequence[str] | Sequence[int]) -> Any:
        return list(keys)

    def time(self, time: datetime) -> Any:
        return time

    def times(self, column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
        return column

    def lock_writes(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

    def rows(self, connection: Connection, statement: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        with self.driver(connection).cursor() as cursor:
            cursor.execute(translated(statement), params)
            return cursor.fetchall() if cursor.description else []

    def lookup(self, connection: Connection, table: str, columns: Sequence[str], keys: Sequence[Row]) -> dict[Row, int]:
        types = {str: "text", int: "bigint"}
        arrays = ", ".join(f"%s::{types[type(value)]}[]" for value in keys[0])
        condition = " AND ".join(f"t.{column} = k.{column}" for column in columns)
        names = ", ".join(columns)
        shown = ", ".join("t." + column for column in columns)
        query = f"SELECT t.id, {shown} FROM unnest({arrays}) AS k ({names}) JOIN {table} t ON {condition}"
        return {
            tuple(key): identity for identity, *key in self.driver(connection).execute(query, [list(v) for v in zip(*keys, strict=True)])
        }

    def insert(self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if not rows:
            return
        with self.driver(connection).cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def insert_measurements(self, connection: Connection, attempts: Iterable[tuple[int, Sequence[int], Sequence[float]]]) -> None:
        rows = [(attempt, list(metrics), list(values)) for attempt, metrics, values in attempts]
        self.insert(connection, "measurement_array", MEASUREMENTS, rows)

    def insert_points(self, connection: Connection, pieces: Iterable[Points]) -> None:
        statement = f"COPY measurement_array ({', '.join(MEASUREMENTS)}) FROM STDIN (FORMAT binary)"
        with self.driver(connection).cursor() as cursor:
            writer = QueuedLibpqWriter(cursor)  # from a thread: the server stores a piece while the caller makes the next
            with cursor.copy(statement, writer=writer) as copy:
                copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
                for block in chain.from_iterable(points.blocks() for points in pieces):
                    size = max(1, PIECE // len(block.metrics))
                    for start in range(0, len(block.attempts), size):
                        copy.write(_binary(block, slice(start, start + size)))
                copy.write(b"\xff\xff")

    def insert_arrow(self, connection: Connection, table: str, rows: pyarrow.Table) -> None:
        from pyarrow import BufferOutputStream, csv

        text = BufferOutputStream()  # Arrow formats numbers in C++, shortest form that reads back to the same bits
        # One chunk each: pyarrow 26 writes zero bytes for a table whose columns begin with an empty chunk.
        csv.write_csv(rows.combine_chunks(), text, csv.WriteOptions(include_header=False))
        statement = f"COPY {table} ({', '.join(rows.column_names)}) FROM STDIN (FORMAT csv)"
        with self.driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(text.getvalue().to_pybytes())

    def stream(self, connection: Connection, statement: str, size: int) -> Iterator[list[Row]]:
        with self.driver(connection).cursor(name="assay_stream") as cursor:
            cursor.execute(statement)
            while rows := cursor.fetchmany(size):
                yield rows

    def update(
        self, connection: Connection, table: str, changes: Mapping[str, str], keys: Mapping[str, str], rows: Sequence[Row], also: str = ""
    ) -> None:
        if rows:
            columns = {**changes, **keys}
            assignments = [f"{column} = x.{column}" for column in changes] + ([also] if also else [])
            condition = " AND ".join(f"t.{column} = x.{column}" for column in keys)
            arrays = ", ".join(f"%s::{type}[]" for type in columns.values())
            changed = f"UPDATE {table} AS t SET {', '.join(assignments)}"
            statement = f"{changed} FROM unnest({arrays}) AS x ({', '.join(columns)}) WHERE {condition}"
            self.driver(connection).execute(statement, [list(column) for column in zip(*rows, strict=True)])

    def translate(self, error: Exception) -> LedgerError | None:
        return explain(self.url, error)


def _binary(block: Block, part: slice) -> bytes:
    """Rows of `measurement_array` in COPY's binary format: per row the number of columns, then each column as its length and its big-endian
    value; an array is its number of dimensions, a flag for NULLs, the type of its items, its size, its lower bound, and its items as
    columns are."""
    import numpy as np

    count = len(block.metrics)

    def array(item: str) -> list[Any]:
        return [("length", ">i4"), ("head", ">i4", 5), ("items", [("length", ">i4"), ("item", item)], (count,))]

    layout = [("columns", ">i2"), ("length", ">i4"), ("attempt", ">i8"), ("metrics", array(">i4")), ("numbers", array(">f8"))]
    rows = np.empty(len(block.attempts[part]), dtype=layout)
    rows["columns"], rows["length"], rows["attempt"] = 3, 8, block.attempts[part]
    for column, type, size, items in (("metrics", INTEGER, 4, block.metrics), ("numbers", DOUBLE, 8, block.values[part])):
        rows[column]["length"], rows[column]["head"] = 20 + count * (4 + size), (1, 0, type, count, 1)
        rows[column]["items"]["length"], rows[column]["items"]["item"] = size, items
    return rows.tobytes()


@lru_cache(maxsize=512)
def translated(statement: str) -> str:
    """A statement of ours in psycopg's parameter style."""
    return compiled(statement)[0]


def _prepare(connection: Any, record: Any) -> None:
    """Settings of the server, the database or the user that would end a long import or change what a transaction sees don't count here."""
    settings = {"lock_timeout": LOCK_TIMEOUT, "statement_timeout": 0, "idle_in_transaction_session_timeout": 0}
    for name, value in {**settings, "default_transaction_isolation": "'read committed'", "timezone": "'UTC'"}.items():
        connection.execute(f"SET {name} = {value}")
    connection.commit()


def grant_reader(connection: Connection) -> None:
    """Give the reader role the public views, making the role if that is allowed; without it, guarded queries are checked by their parse
    tree (`postgresql_check`). Also say the schema's revision where readers see it. To be repeated after every upgrade, because it recreates
    the views."""
    from db.views import VIEWS

    if not connection.exec_driver_sql(f"SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = '{READER}'").scalar():
        # From PostgreSQL 16 on, who makes a role may not act as it before it is granted.
        superuser = connection.exec_driver_sql("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").scalar()
        _allowed(connection, f"CREATE ROLE {READER} NOLOGIN", *([] if superuser else [f"GRANT {READER} TO current_user"]))
    # Readers can't look into alembic_version.
    _allowed(connection, f"COMMENT ON VIEW {MARKED} IS 'Assay ledger, schema {HEAD}'")
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
    _allowed(connection, f"GRANT USAGE ON SCHEMA {schema} TO {READER}", f"GRANT SELECT ON {', '.join(VIEWS)} TO {READER}")


def _allowed(connection: Connection, *statements: str) -> None:
    """Execute all of the statements or, where this user may not or another was faster, none."""
    expected = (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.UniqueViolation,  # of two that make the role at once, in two databases of one server
        psycopg.errors.DuplicateObject,
        psycopg.errors.UndefinedObject,  # no role: this user may not make one
    )
    try:
        with connection.begin_nested():
            for statement in statements:
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if not isinstance(error.orig, expected):
            raise
