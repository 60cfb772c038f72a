"""The ledger: the SQL store of every trial, attempt and measurement. Imports no other room.

`open_ledger(url)` opens one (see `db.ledger.Ledger`); `query(sql)` reads one in a single call. Importing this package is cheap: drivers
load when a ledger is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    import pyarrow

    from db.opening import default_url, open_ledger

__all__ = ["default_url", "open_ledger", "query"]


def query(sql: str, params: dict[str, Any] | None = None, url: str | os.PathLike[str] | None = None) -> pyarrow.Table:
    """Rows of a SELECT over the public views of the ledger at `url` (None: the default one); `.to_pandas()` makes a DataFrame of them."""
    from db.opening import open_ledger

    with open_ledger(url, read_only=True) as ledger:
        return ledger.query(sql, params)


def __getattr__(name: str) -> Any:
    if name in ("open_ledger", "default_url"):
        from db import opening

        return getattr(opening, name)
    raise AttributeError(f"module 'db' has no attribute {name!r}")
