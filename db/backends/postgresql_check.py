"""What a query reads, by PostgreSQL's own parser: the guard where the server does not let us use a reader role.

Managed servers often forbid CREATE ROLE. The read-only transaction still keeps a query from writing, but the user's own grants would let it
read private tables, and call functions that end sessions or read files.
"""

from __future__ import annotations

from typing import Any

import psycopg

from db.errors import QueryRefused
from db.views import VIEWS

#: Tables and functions in the parse tree of a view; the tree of older servers names the view itself too.
REFERENCES = """
    SELECT DISTINCT m[1] = 'relid', CAST(m[2] AS oid) FROM pg_catalog.pg_rewrite,
        pg_catalog.regexp_matches(CAST(ev_action AS text), ':(relid|funcid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS m
    WHERE ev_class = CAST('pg_temp.assay_check' AS regclass) AND CAST(m[2] AS oid) NOT IN (0, ev_class)"""
PRIVATE = """
    SELECT relname FROM pg_catalog.pg_class WHERE oid = ANY(%s)
        AND NOT (relkind = 'v' AND relnamespace = CAST(current_schema() AS regnamespace) AND relname = ANY(%s))"""
#: Volatile is what PostgreSQL calls functions that may do something; the XML exports are not, but read any table.
UNSAFE = """
    SELECT proname FROM pg_catalog.pg_proc WHERE oid = ANY(%s) AND (
        provolatile = 'v' AND proname <> ALL(%s) OR proname LIKE '%%to\\_xml%%' OR pronamespace <> CAST('pg_catalog' AS regnamespace))"""
HARMLESS = ["random", "random_normal", "clock_timestamp", "timeofday", "gen_random_uuid"]


def check(connection: psycopg.Connection[Any], statement: str, values: dict[str, Any] | None, timeout: float) -> None:
    """QueryRefused unless the query reads the public views alone and calls no function that does more than compute.

    The query becomes a temporary view that nobody reads and that is rolled back: its parse tree names all tables and functions.
    """
    text = statement if values is None else psycopg.ClientCursor(connection).mogrify(statement, values)
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))}")
        try:
            # binary: over the extended protocol, which takes one command alone
            cursor.execute(b"CREATE TEMPORARY VIEW assay_check AS SELECT 1 AS x FROM (" + text.encode() + b"\n) AS q", binary=True)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:  # the latter: on a replica
            if "temporary" not in str(error) and isinstance(error, psycopg.errors.InsufficientPrivilege):
                raise
            raise QueryRefused(
                "This user may neither act as the role assay_reader nor make temporary views, so a query can't be checked; ask an "
                "administrator for `CREATE ROLE assay_reader; GRANT assay_reader TO you`, then run `assay db upgrade`."
            ) from error
        found = cursor.execute(REFERENCES).fetchall()
        tables, functions = ([oid for is_table, oid in found if is_table is kind] for kind in (True, False))
        private = cursor.execute(PRIVATE, [tables, list(VIEWS)]).fetchone()
        if private is not None:
            raise QueryRefused(f"{private[0]} is not one of the public views, which are {', '.join(VIEWS)}.")
        unsafe = cursor.execute(UNSAFE, [functions, HARMLESS]).fetchone()
        if unsafe is not None:
            raise QueryRefused(f"The function {unsafe[0]}() may not run here: it does more than compute a value.")
