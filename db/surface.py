"""The public SQL surface of a ledger: guarded, read-only queries over the documented views (`db.views`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from db.tables import to_arrow

if TYPE_CHECKING:
    import pyarrow

Row = tuple[Any, ...]
Batch = tuple[list[str], list[Row]]
#: Rows per piece of a query: bounds memory while streaming.
BATCH = 50_000


class Surface(ABC):
    """Reads one database. Every method raises QueryRefused for what is not a SELECT over the public views, takes longer than `timeout`
    seconds or is not valid SQL, and LedgerUnavailable or LedgerCorrupt as `Ledger` does. Parameters are named `:name`."""

    url: str

    @abstractmethod
    def batches(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> Iterator[Batch]:
        """(column names, rows) of a SELECT in at least one piece, at most `limit` rows in all."""

    @abstractmethod
    def explain(self, sql: str, params: dict[str, Any] | None, timeout: float) -> list[str]:
        """The database's plan for the same, without running it; one line per step."""

    @abstractmethod
    def revision(self) -> str | None:
        """Schema revision, None when the database holds no ledger."""

    @abstractmethod
    def member(self, column: str, parameter: str) -> str:
        """SQL condition: `column` is in the list bound to `:parameter` (prepared by `keys`)."""

    @abstractmethod
    def keys(self, keys: Sequence[str]) -> Any:
        """A list of keys as the value of one parameter, however many there are."""

    @abstractmethod
    def close(self) -> None: ...

    def rows(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> Batch:
        """Column names and all rows, at most `limit`."""
        names: list[str] = []
        rows: list[Row] = []
        for columns, batch in self.batches(sql, params, timeout, limit):
            names = columns
            rows.extend(batch)
        return names, rows

    def table(self, sql: str, params: dict[str, Any] | None, timeout: float, limit: int | None = None) -> pyarrow.Table:
        """The same as an Arrow table."""
        names, rows = self.rows(sql, params, timeout, limit)
        return to_arrow(names, rows, sql)
