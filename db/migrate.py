"""From one schema revision to another: Alembic, with its environment and revisions as package data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.revisions import FOLDER
from db.views import VIEWS

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection


def config(connection: Connection) -> Config:
    """Alembic's configuration for this connection."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to `revision` and the public views to this code's, in the caller's transaction. Views of other people stay."""
    from alembic import command
    from alembic.migration import MigrationContext

    if MigrationContext.configure(connection).get_current_revision() is not None:
        for name in VIEWS.keys() & existing_views(connection):
            connection.exec_driver_sql(f"DROP VIEW {name}")
    command.upgrade(config(connection), revision)
    for name, view in VIEWS.items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {view.sql}")


def existing_views(connection: Connection) -> set[str]:
    """Names of the views that the database holds now, ours and others."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'view'")
    else:
        rows = connection.exec_driver_sql("SELECT viewname FROM pg_catalog.pg_views WHERE schemaname = current_schema()")
    return {name for (name,) in rows}
