"""`assay export`, `assay import`, `assay verify`: results as folders of Parquet with hashes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, print_json, stderr

if TYPE_CHECKING:
    from db.bundle.importing import Imported
    from db.store import SqlLedger

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `assay export` wrote.")]


def register(app: typer.Typer) -> None:
    app.command("export")(export)
    app.command("import")(import_)
    app.command("verify")(verify)


def export(
    to: Annotated[Path, typer.Option("--to", help="The folder to write; must not exist or be empty.")],
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Write the whole ledger as Parquet files with a manifest of hashes."""
    from db.bundle import export_bundle

    with writable(db, create=False) as ledger:
        rows = export_bundle(ledger, to)
    if as_json:
        print_json(rows)
        return
    for name, count in rows.items():
        print(f"{name:<18}{count:>12,}")


def import_(bundle: BundleArgument, db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """Merge a bundle into the ledger by trial key; disagreeing results are kept as replicates. Doing it twice changes nothing."""
    from rich.progress import Progress

    from db.bundle import import_bundle
    from db.bundle.layout import check_files

    check_files(bundle)  # before a ledger is made for nothing
    console = stderr()
    with writable(db, create=True) as ledger, Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("attempts", total=None)
        done = import_bundle(ledger, bundle, lambda count, total: bar.update(task, completed=count, total=total))
    print_imported(done, as_json)


def print_imported(done: Imported, as_json: bool) -> None:
    """What a merge has added."""
    counts = {name: getattr(done, name) for name in ("trials", "attempts", "replicates", "measurements", "curve_points")}
    if as_json:
        print_json(counts)
        return
    print(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()) + " added")


def verify(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Recompute a bundle's hashes and leaderboard from the bundle alone; exit code 1 when they differ."""
    from db.bundle import verify_bundle

    found = verify_bundle(bundle)
    if as_json:
        print_json({"files": found.files, "rows": found.rows, "leaderboard_rows": found.leaderboard_rows, "differences": found.differences})
    else:
        for sentence in found.differences:
            print(sentence)
        right = "agree" if not found.differences else f"show {len(found.differences)} differences"
        print(
            f"{found.files} files with {found.rows:,} rows have the manifest's hashes; {found.leaderboard_rows:,} leaderboard rows {right}."
        )
    if found.differences:
        raise typer.Exit(1)


def writable(db: str, create: bool) -> SqlLedger:
    """The ledger behind `--db`, to be written."""
    from db.opening import open_ledger
    from db.store import SqlLedger

    ledger = open_ledger(db, create=create)
    assert isinstance(ledger, SqlLedger)
    return ledger
