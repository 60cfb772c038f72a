"""What differs between SQLite and PostgreSQL, and nothing else. Statements are written once, with `:name` parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from db.errors import LedgerError

if TYPE_CHECKING:
    import pyarrow
    from sqlalchemy import Connection, Engine

    from db.points import Points
    from db.surface import Surface

Row = tuple[Any, ...]


class Backend(ABC):
    """One database. `url` is how people name it (without a password); `engine` makes its connections; `surface` is for guarded queries."""

    name: str
    driver_error: type[Exception]
    url: str
    engine: Engine
    surface: Surface

    #: SQL expressions by the database's clock: the time as stored in time columns, and seconds since 1970 for leases.
    now: str
    now_seconds: str
    #: Appended to the SELECT of rows about to change, so that concurrent coordinators queue up or step aside.
    for_update: str
    skip_locked: str
    #: SQLAlchemy's options of a transaction that only reads.
    read_options: Mapping[str, Any]

    @abstractmethod
    def member(self, column: str, parameter: str) -> str:
        """SQL condition: `column` is in the list bound to `:parameter` (prepared by `keys`)."""

    @abstractmethod
    def keys(self, keys: Sequence[str] | Sequence[int]) -> Any:
        """A list of keys as the value of one parameter, however many there are."""

    @abstractmethod
    def time(self, time: datetime) -> Any:
        """A time as the value of a parameter."""

    @abstractmethod
    def times(self, column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
        """A column of times as `insert_arrow` takes them."""

    @abstractmethod
    def lock_writes(self, connection: Connection) -> None:
        """Let one transaction at a time insert rows: ids stay dense, and two writers can't deadlock."""

    @abstractmethod
    def rows(self, connection: Connection, statement: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Execute `statement` (with `:name` parameters) and fetch all rows."""

    @abstractmethod
    def lookup(self, connection: Connection, table: str, columns: Sequence[str], keys: Sequence[Row]) -> dict[Row, int]:
        """Ids of the rows of a dictionary table whose `columns` equal each key; keys without a row are left out."""

    @abstractmethod
    def insert(self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert many rows as fast as the driver can."""

    @abstractmethod
    def insert_measurements(self, connection: Connection, attempts: Iterable[tuple[int, Sequence[int], Sequence[float]]]) -> None:
        """Insert the measurements of a few attempts: the id of each, ids of metrics and as many values, nan and infinities as they are."""

    @abstractmethod
    def insert_points(self, connection: Connection, pieces: Iterable[Points]) -> None:
        """Insert thousands of measurements; no attempt is in two pieces. `pieces` must not use the connection: it may be asked for the next
        one while the last is on its way."""

    @abstractmethod
    def insert_arrow(self, connection: Connection, table: str, rows: pyarrow.Table) -> None:
        """The same from an Arrow table whose columns are named as the table's."""

    @abstractmethod
    def stream(self, connection: Connection, statement: str, size: int) -> Iterator[list[Row]]:
        """Rows of a SELECT in pieces of `size`, never all in memory."""

    @abstractmethod
    def update(
        self, connection: Connection, table: str, changes: Mapping[str, str], keys: Mapping[str, str], rows: Sequence[Row], also: str = ""
    ) -> None:
        """Update many rows: each of `rows` holds values of the columns `changes`, then of the columns `keys` that find the row (both by
        name with PostgreSQL's type). `also` holds further assignments, the same for all."""

    @abstractmethod
    def translate(self, error: Exception) -> LedgerError | None:
        """The ledger's error for a driver's error; None when it is a defect of ours."""

    @staticmethod
    def driver(connection: Connection) -> Any:
        """The driver's own connection, for the hot paths: a statement through SQLAlchemy costs a quarter of a millisecond."""
        return connection.connection.driver_connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translates the driver's errors inside the block."""
        try:
            yield
        except DBAPIError as error:
            known = self.translate(error.orig) if isinstance(error.orig, Exception) else None
            if known is None:
                raise
            raise known from error
        except self.driver_error as error:
            known = self.translate(error)
            if known is None:
                raise
            raise known from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise LedgerError(f"The ledger {self.url} can't hold what it was given: {error}.") from error

    @contextmanager
    def write(self, exclusive: bool = True) -> Iterator[Connection]:
        """A transaction that writes; with `exclusive`, the only one that inserts. Rolls back on any error in the block."""
        with self.errors(), self.engine.begin() as connection:
            if exclusive:
                self.lock_writes(connection)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one snapshot for the whole block, never in a writer's way."""
        with self.errors(), self.engine.connect().execution_options(**self.read_options) as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        self.surface.close()
        self.engine.dispose()
