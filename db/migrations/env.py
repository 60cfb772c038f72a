"""Alembic runs this: it migrates on the connection that `db.migrate` hands over, inside that connection's transaction."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None)
context.run_migrations()
