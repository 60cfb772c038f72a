"""Schema revisions: what this code needs, what a ledger has, and the way from one to the other (Alembic, package data)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import LedgerCorrupt, SchemaMismatch
from db.views import VIEWS

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

#: The revision this code works with. A change of tables or views needs a new one (tests/assets/ledger keeps a frozen ledger of each).
HEAD = "0001"
FOLDER = Path(__file__).parent / "migrations"


def check(revision: str | None, url: str) -> None:
    """Raises SchemaMismatch (with the command that helps) or LedgerCorrupt unless `revision` is the one this code works with."""
    if revision == HEAD:
        return
    if revision is None:
        raise LedgerCorrupt(
            f"{url} is a database but holds no ledger; name another with --db, or let `assay run` create one at a new path."
        )
    if revision in revisions():
        raise SchemaMismatch(
            f"The ledger {url} has schema {revision}, older than this code's {HEAD}; run `assay db upgrade --db {url}` "
            "(it backs SQLite up first)."
        )
    raise SchemaMismatch(
        f"The ledger {url} has schema {revision}, newer than this code's {HEAD}; install the Assay that wrote it: "
        "`pip install --upgrade assay-bench`."
    )


def revisions() -> list[str]:
    """Every revision this code knows, oldest first (by the names of the files: no import of Alembic)."""
    return sorted(match[1] for path in (FOLDER / "versions").glob("r*.py") if (match := re.match(r"r(\d{4})_", path.name)))


def config(connection: Connection) -> Config:
    """Alembic's configuration for this connection."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to `revision` and the public views to this code's, in the caller's transaction."""
    from alembic import command

    existing = existing_views(connection)
    for name in reversed(existing):
        connection.exec_driver_sql(f"DROP VIEW {name}")
    command.upgrade(config(connection), revision)
    for name, view in VIEWS.items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {view.sql}")


def existing_views(connection: Connection) -> list[str]:
    """Names of the views that the database holds now."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'view'")
    else:
        rows = connection.exec_driver_sql("SELECT viewname FROM pg_catalog.pg_views WHERE schemaname = current_schema()")
    return [name for (name,) in rows]
