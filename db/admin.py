"""Care of a ledger: schema upgrades, backups, statistics, compaction."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from db.backends.sqlite import SqliteBackend
from db.backends.sqlite_file import connect
from db.errors import LedgerCorrupt, LedgerUnavailable
from db.migrate import migrate
from db.opening import default_url, make_backend
from db.revisions import HEAD, check, revisions

if TYPE_CHECKING:
    from db.backends.base import Backend

#: The base tables, largest last.
TABLES = (
    "paper", "task", "method", "metric", "claim", "claim_revision", "verdict", "environment", "run", "task_config", "method_config",
    "run_trial", "run_tag", "audit", "submission", "trial", "attempt", "attempt_text", "summary", "measurement", "curve_point",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """`revision` is the ledger's, `head` this code's."""

    url: str
    revision: str
    head: str

    @property
    def newer(self) -> bool:
        """Whether this code does not know the ledger's schema."""
        return self.revision not in revisions()


def current(url: str | os.PathLike[str] | None) -> Schema:
    """Which schema the ledger has; works on older and newer ones too."""
    with closing_backend(url) as backend:
        return Schema(backend.url, _revision(backend), HEAD)


def upgrade(url: str | os.PathLike[str] | None) -> tuple[Schema, Path | None]:
    """Bring the ledger to this code's schema, in one transaction; returns the schema it had and the backup made first (SQLite only).

    Nothing happens when it is up to date. Raises SchemaMismatch when it is newer than this code.
    """
    with closing_backend(url) as backend:
        had = Schema(backend.url, _revision(backend), HEAD)
        if had.revision == HEAD:
            if backend.name == "postgresql":
                from db.backends.postgresql import grant_reader

                with backend.write() as connection:
                    grant_reader(connection)  # an administrator may have made the role since
            return had, None
        if had.newer:
            check(had.revision, backend.url)
        saved = None
        if isinstance(backend, SqliteBackend):
            saved = _copy(backend.path, _free(backend.path.with_name(f"{backend.path.name}.{had.revision}.backup")))
        with backend.write() as connection:
            migrate(connection)
            if backend.name == "postgresql":
                from db.backends.postgresql import grant_reader

                grant_reader(connection)
        return had, saved


def backup(url: str | os.PathLike[str] | None, target: Path | None = None) -> Path:
    """A consistent copy while others go on writing: SQLite by its online backup, PostgreSQL by pg_dump (custom format). Returns the file.

    Never overwrites: raises LedgerUnavailable when `target` exists, when it can't be written, or when pg_dump is missing.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    with closing_backend(url) as backend:
        _revision(backend)
        if isinstance(backend, SqliteBackend):
            return _copy(backend.path, _unused(target) if target else _free(backend.path.with_name(f"{backend.path.name}.{stamp}.backup")))
        target = _unused(target) if target else _free(Path(f"assay-{stamp}.dump"))
        return _dump(backend, target)


def stats(url: str | os.PathLike[str] | None) -> dict[str, int]:
    """Rows per base table, and `bytes` that the ledger takes on disk."""
    with closing_backend(url) as backend:
        check(backend.surface.revision(), backend.url)
        with backend.read() as connection:
            counts = {name: int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()) for name in TABLES}
        return {**counts, "bytes": _size(backend)}


def vacuum(url: str | os.PathLike[str] | None) -> tuple[int, int]:
    """Give unused space back (SQLite: to the disk, PostgreSQL: to new rows) and refresh the planner's statistics; returns the size in bytes
    before and after."""
    with closing_backend(url) as backend, backend.errors():
        check(backend.surface.revision(), backend.url)
        before = _size(backend)
        if isinstance(backend, SqliteBackend):
            with closing(connect(backend.path, "rw")) as connection:
                connection.execute("VACUUM")
                connection.execute("ANALYZE")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            with backend.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
                other.exec_driver_sql("VACUUM (ANALYZE)")
        return before, _size(backend)


class closing_backend:
    """The backend that `url` names, disposed of at the end of the block."""

    def __init__(self, url: str | os.PathLike[str] | None) -> None:
        self.backend = make_backend(os.fspath(url) if url is not None else default_url())

    def __enter__(self) -> Backend:
        return self.backend

    def __exit__(self, *_: object) -> None:
        self.backend.dispose()


def _revision(backend: Backend) -> str:
    revision = backend.surface.revision()
    if revision is None:
        raise LedgerCorrupt(f"{backend.url} is a database but holds no ledger; name another with --db.")
    return revision


def _size(backend: Backend) -> int:
    """Bytes on disk."""
    if isinstance(backend, SqliteBackend):
        files = (backend.path, backend.path.with_name(backend.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
    with backend.read() as connection:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())


def _dump(backend: Backend, target: Path) -> Path:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from db.backends.postgresql import PostgresBackend

    assert isinstance(backend, PostgresBackend)
    program = shutil.which("pg_dump")
    if program is None:
        raise LedgerUnavailable("pg_dump is not installed here; install PostgreSQL's client tools, or use `assay export --to FOLDER`.")
    draft = target.with_name(target.name + ".part")
    parts = conninfo_to_dict(backend.conninfo)
    password = parts.pop("password", None)  # everybody can read a command line
    environment = os.environ if password is None else {**os.environ, "PGPASSWORD": str(password)}
    command = [program, "--format=custom", f"--file={draft}", f"--dbname={make_conninfo('', **parts)}"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            said = " ".join(done.stderr.split()).rstrip(".")
            raise LedgerUnavailable(f"pg_dump could not back up {backend.url}: {said}; `assay export --to FOLDER` needs no pg_dump.")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _copy(source: Path, target: Path) -> Path:
    draft = target.with_name(target.name + ".part")
    try:
        with closing(connect(source, "ro")) as old, closing(sqlite3.connect(draft)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, whole by itself
        os.replace(draft, target)
    except (sqlite3.Error, OSError) as error:
        raise LedgerUnavailable(f"The backup {target} can't be written ({error}); free space or name another file with --to.") from error
    finally:
        with suppress(OSError):  # the folder may be none, or read-only; the error that says so is on its way
            draft.unlink()
    return target


def _unused(path: Path) -> Path:
    if path.exists():
        raise LedgerUnavailable(f"{path} exists already; a backup never overwrites, so name another file with --to.")
    return path


def _free(path: Path) -> Path:
    """`path`, or with a number when it is taken."""
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}.{number}")
        number += 1
    return free
