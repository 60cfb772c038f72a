"""Opening a ledger by URL or path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import LedgerUnavailable
from db.values import without_password

if TYPE_CHECKING:
    from db.backends.base import Backend
    from db.readonly import ReadOnlyLedger
    from db.store import SqlLedger
    from db.surface import Surface

#: Where the ledger is when nobody says: the environment variable, else this file in the working directory.
VARIABLE = "ASSAY_DB"
DEFAULT = "assay.db"


def default_url() -> str:
    """The ledger meant when none is named: `ASSAY_DB`, else `assay.db` in the working directory."""
    return os.environ.get(VARIABLE) or DEFAULT


def open_ledger(url: str | os.PathLike[str] | None = None, create: bool = False, read_only: bool = False) -> SqlLedger | ReadOnlyLedger:
    """Open the ledger at `url`: a path, `sqlite:///path` or `postgresql://user@host/database`; None means `default_url()`.

    With `create`, a ledger that does not exist yet is made (atomically: several processes may try at once).
    Raises LedgerUnavailable when it does not exist or can't be reached, LedgerCorrupt when it is something else or damaged, SchemaMismatch
    when it belongs to another version of the code.
    """
    from db.revisions import check

    text = os.fspath(url) if url is not None else default_url()
    if read_only and not create:
        surface = make_surface(text)
        try:
            check(surface.revision(), surface.url)
        except BaseException:
            surface.close()
            raise
        from db.readonly import ReadOnlyLedger

        return ReadOnlyLedger(surface)
    from db.store import SqlLedger

    backend = make_backend(text, create)
    try:
        check(backend.surface.revision(), backend.url)
    except BaseException:
        backend.dispose()
        raise
    return SqlLedger(backend)


def make_surface(url: str) -> Surface:
    """The SQL surface that `url` names; does not look at the schema."""
    if _is_postgres(url):
        from db.backends.postgresql_surface import PostgresSurface, named

        return PostgresSurface(*named(url))
    from db.backends.sqlite_surface import SqliteSurface

    return SqliteSurface(_existing(_path(url)))


def make_backend(url: str, create: bool = False) -> Backend:
    """The backend that `url` names, its database made first when `create` says so; does not look at the schema."""
    if _is_postgres(url):
        from db.backends.postgresql import PostgresBackend

        return PostgresBackend.open(url, create)
    from db.backends.sqlite import SqliteBackend, create_file

    path = _path(url)
    if create and not path.exists():
        create_file(path)
    return SqliteBackend(_existing(path))


def _is_postgres(url: str) -> bool:
    """Whether it names a PostgreSQL ledger; LedgerUnavailable where the driver is not installed."""
    if not url.lower().startswith(("postgresql:", "postgres:", "postgresql+psycopg:")):
        return False
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise LedgerUnavailable(
            f"A postgresql:// ledger needs the driver psycopg; run `pip install 'assay-bench[postgres]'` ({error})."
        ) from error
    return True


def _path(url: str) -> Path:
    if "://" in url and not url.startswith("sqlite:///"):
        scheme = url.split(":", 1)[0]
        raise LedgerUnavailable(f"{scheme}:// is not a ledger's URL; use a path, sqlite:///path or postgresql://user@host/database.")
    path = Path(url.removeprefix("sqlite:///"))
    if path.is_dir():
        raise LedgerUnavailable(f"{path} is a folder, not a ledger; name a file in it, such as {path / DEFAULT}.")
    return path


def _existing(path: Path) -> Path:
    if not path.exists():
        raise LedgerUnavailable(
            f"There is no ledger at {without_password(str(path))}; `assay run SUITE` creates one, or name another with --db or {VARIABLE}."
        )
    return path
