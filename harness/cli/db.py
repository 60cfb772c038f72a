"""`assay db`: care of the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, print_json, stderr


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Upgrade, back up, inspect and compact the ledger.", no_args_is_help=True)
    for command in (upgrade, current, backup, stats, vacuum):
        group.command()(command)
    app.add_typer(group, name="db")


def upgrade(db: DbOption = DEFAULT_DB) -> None:
    """Bring an older ledger to this version's schema (a SQLite file is backed up first)."""
    from db import admin

    had, saved = admin.upgrade(db)
    if had.revision == had.head:
        print(f"{had.url} has schema {had.head} already.")
        return
    if saved is not None:
        stderr().print(f"Backed up to {saved}.", soft_wrap=True)
    print(f"{had.url}: schema {had.revision} -> {had.head}.")


def current(db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """Show the ledger's schema and the one this version works with."""
    from db import admin

    found = admin.current(db)
    if as_json:
        print_json({"url": found.url, "revision": found.revision, "head": found.head})
        return
    state = "up to date"
    if found.revision != found.head:
        what = "newer: install the Assay that wrote it" if found.newer else "older: run `assay db upgrade`"
        state = f"this version works with {found.head}, the ledger is {what}"
    print(f"{found.url}: schema {found.revision} ({state})")


def backup(
    db: DbOption = DEFAULT_DB, to: Annotated[Path | None, typer.Option("--to", help="The file to write; never overwritten.")] = None
) -> None:
    """Copy the ledger consistently while runs go on: a SQLite file, or pg_dump's custom format."""
    from db import admin

    print(admin.backup(db, to))


def stats(db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """Count the rows of each table."""
    from db import admin

    counts = admin.stats(db)
    if as_json:
        print_json(counts)
        return
    for name, count in counts.items():
        print(f"{name:<16}{count:>14,}")


def vacuum(db: DbOption = DEFAULT_DB) -> None:
    """Give unused space back and refresh the planner's statistics."""
    from db import admin

    before, after = admin.vacuum(db)
    print(f"{before:,} -> {after:,} bytes")
