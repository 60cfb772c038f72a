"""Opening a ledger by URL or path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import LedgerUnavailable

if TYPE_CHECKING:
    from db.backends.base import Backend
    from db.store import SqlLedger

#: Where the ledger is when nobody says: the environment variable, else this file in the working directory.
VARIABLE = "ASSAY_DB"
DEFAULT = "assay.db"


def default_url() -> str:
    """The ledger meant when none is named: `ASSAY_DB`, else `assay.db` in the working directory."""
    return os.environ.get(VARIABLE) or DEFAULT


def open_ledger(url: str | os.PathLike[str] | None = None, create: bool = False, read_only: bool = False) -> SqlLedger:
    """Open the ledger at `url`: a path, `sqlite:///path` or `postgresql://user@host/database`; None means `default_url()`.

    With `create`, a ledger that does not exist yet is made (atomically: several processes may try at once).
    Raises LedgerUnavailable when it does not exist or can't be reached, LedgerCorrupt when it is something else or damaged, SchemaMismatch
    when it belongs to another version of the code.
    """
    from db.migrate import check
    from db.store import SqlLedger

    backend = make_backend(url, create, read_only)
    try:
        with backend.read() as connection:
            revision = backend.revision(connection)
        check(revision, backend.url)
    except BaseException:
        backend.dispose()
        raise
    return SqlLedger(backend)


def make_backend(url: str | os.PathLike[str] | None, create: bool, read_only: bool) -> Backend:
    """The backend that `url` names; does not look at the schema."""
    text = os.fspath(url) if url is not None else default_url()
    if text.startswith(("postgresql:", "postgres:", "postgresql+psycopg:")):
        from db.backends.postgresql import PostgresBackend

        return PostgresBackend.open(text, create, read_only)
    if "://" in text and not text.startswith("sqlite:///"):
        scheme = text.split(":", 1)[0]
        raise LedgerUnavailable(f"{scheme}:// is not a ledger's URL; use a path, sqlite:///path or postgresql://user@host/database.")
    from db.backends.sqlite import SqliteBackend, create_file

    path = Path(text.removeprefix("sqlite:///"))
    if path.is_dir():
        raise LedgerUnavailable(f"{path} is a folder, not a ledger; name a file in it, such as {path / DEFAULT}.")
    if not path.exists():
        if not create:
            raise LedgerUnavailable(
                f"There is no ledger at {path}; `assay run SUITE` creates one, or name another with --db or {VARIABLE}."
            )
        create_file(path)
    return SqliteBackend(path, read_only)
