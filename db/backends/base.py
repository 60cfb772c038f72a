"""What differs between SQLite and PostgreSQL, and nothing else. Statements are written once, with `:name` parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from db.tables import to_arrow

if TYPE_CHECKING:
    import pyarrow
    from sqlalchemy import Connection, Engine

    from db.errors import LedgerError

Row = tuple[Any, ...]
Batch = tuple[list[str], list[Row]]
#: Rows per piece of a guarded query: bounds memory while streaming.
BATCH = 50_000


class Backend(ABC):
    """One database. `url` is how people name it (without a password); `engine` makes its connections."""

    name: str
    driver_error: type[Exception]
    url: str
    engine: Engine
    read_only: bool

    #: SQL expressions by the database's clock: the time as stored in time columns, and seconds since 1970 for leases.
    now: str
    now_seconds: str
    #: Appended to the SELECT of rows about to change, so that concurrent coordinators queue up or step aside.
    for_update: str
    skip_locked: str

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
    def lock_writes(self, connection: Connection) -> None:
        """Let one transaction at a time insert rows: ids stay dense, and two writers can't deadlock."""

    @abstractmethod
    def insert(self, connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert many rows as fast as the driver can."""

    @abstractmethod
    def update(self, connection: Connection, statement: str, rows: Sequence[Row]) -> None:
        """Execute `statement` (with `?` in the order of each row) for each row."""

    @abstractmethod
    def revision(self, connection: Connection) -> str | None:
        """Schema revision, None when the database holds no ledger."""

    @abstractmethod
    def translate(self, error: Exception) -> LedgerError | None:
        """The ledger's error for a driver's error; None when it is a defect of ours."""

    @abstractmethod
    def batches(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> Iterator[Batch]:
        """(column names, rows) of one SELECT over the public views, in at least one piece: only reads, and ends after `timeout` seconds.
        Raises QueryRefused."""

    @abstractmethod
    def explain(self, sql: str, params: dict[str, Any] | None, timeout: float) -> list[str]:
        """The database's plan for the same, without running it; one line per step."""

    def query(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> pyarrow.Table:
        """All rows, at most `limit`, as one table."""
        names: list[str] = []
        rows: list[Row] = []
        for columns, batch in self.batches(sql, params, timeout, limit):
            names = columns
            rows.extend(batch)
        return to_arrow(names, rows, sql)

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

    @contextmanager
    def write(self, exclusive: bool = True) -> Iterator[Connection]:
        """A transaction that writes; with `exclusive`, the only one that inserts. Rolls back on any error in the block."""
        if self.read_only:
            from db.errors import LedgerUnavailable

            raise LedgerUnavailable(f"The ledger {self.url} was opened for reading only; open it without read_only to change it.")
        with self.errors(), self.engine.begin() as connection:
            if exclusive:
                self.lock_writes(connection)
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one snapshot for the whole block, never in a writer's way."""
        with self.errors(), self.engine.connect().execution_options(assay_read=True) as connection:
            yield connection

    def dispose(self) -> None:
        self.engine.dispose()
