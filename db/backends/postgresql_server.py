"""Names, limits and errors of PostgreSQL servers. Knows no SQLAlchemy, so that reading starts fast."""

from __future__ import annotations

import psycopg

from db.errors import LedgerCorrupt, LedgerError, LedgerUnavailable

#: Milliseconds that a statement waits for a lock. Groups commit in milliseconds; only a stuck process can use this up.
LOCK_TIMEOUT = 60_000
#: Seconds to reach the server.
CONNECT_TIMEOUT = 10
#: The role that guarded queries run as: it may read the public views and nothing else.
READER = "assay_reader"
#: The view whose comment ends with the schema's revision.
MARKED = "trials"


def explain(url: str, error: Exception) -> LedgerError | None:
    """The ledger's error for one of psycopg's; None when it is a defect of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, psycopg.errors.DataCorrupted | psycopg.errors.IndexCorrupted):
        return LedgerCorrupt(f"The ledger {url} is damaged ({text}); restore a backup.")
    if isinstance(error, psycopg.errors.InvalidCatalogName):
        return LedgerUnavailable(
            f"The database of {url} does not exist ({text}); make it with `createdb`, then run the same command again."
        )
    if isinstance(error, psycopg.IntegrityError | psycopg.DataError):
        return LedgerError(f"The ledger {url} refuses what it was given: {text}.")
    if isinstance(error, psycopg.errors.DuplicateTable):
        return LedgerUnavailable(
            f"The database of {url} holds something else under a name of the ledger's ({text}); name another database."
        )
    if isinstance(error, psycopg.errors.DependentObjectsStillExist):
        return LedgerUnavailable(f"Something else in {url} depends on the public views ({text}); drop it, upgrade, and make it again.")
    if isinstance(error, psycopg.errors.InvalidSchemaName):
        return LedgerUnavailable(f"The search_path of this user names no schema in {url} ({text}); set it, or make the schema.")
    if isinstance(error, psycopg.errors.DiskFull):
        return LedgerUnavailable(f"The server of {url} has no space left ({text}); free some and run the same command again.")
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return LedgerUnavailable(f"Another process holds a lock on {url} for more than {LOCK_TIMEOUT // 1000} s; end it ({text}).")
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        return LedgerUnavailable(f"This user may not write to {url} ({text}); use another user, or grant it the tables.")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return LedgerUnavailable(f"The ledger {url} can't be reached ({text}); check that the server runs and the URL is right.")
    return None
