"""`assay sql`: read the public views of the ledger with SQL. Nothing here can change it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from db.errors import LedgerError, QueryRefused
from db.formats import BINARY, FORMATS, Format, write_rows
from db.reading import ROWS, SECONDS
from harness.cli.common import DEFAULT_DB, DbOption, stderr

if TYPE_CHECKING:
    from db.surface import Surface


def register(app: typer.Typer) -> None:
    app.command()(sql)


def sql(
    query: Annotated[
        str | None, typer.Argument(help="A SELECT over the public views; without one, a prompt opens (or stdin is read).")
    ] = None,
    db: DbOption = DEFAULT_DB,
    file: Annotated[Path | None, typer.Option("--file", help="Read the query from a file.")] = None,
    saved: Annotated[str | None, typer.Option("--saved", help="Run a saved query; --list shows them.")] = None,
    show_saved: Annotated[bool, typer.Option("--list", help="List the saved queries.")] = False,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="Value of :NAME in the query, as NAME=VALUE.")] = None,
    format: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file instead of stdout.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most rows to return; 0 for all.")] = ROWS,
    timeout: Annotated[float, typer.Option(min=0.001, help="Most seconds the query may take.")] = SECONDS,
    explain: Annotated[bool, typer.Option("--explain", help="Show the database's plan instead of running the query.")] = False,
) -> None:
    """Query the ledger, read-only. The public views and their columns: `assay sql` and then \\d."""
    from db.opening import open_ledger
    from db.reading import ask
    from db.reading import explain as plan
    from db.saved import saved_query

    chosen = _format(format)
    if show_saved:
        _list_saved()
        return
    if sum(source is not None for source in (query, file, saved)) > 1:
        raise typer.BadParameter("give the query as an argument, with --file or with --saved, not several at once.")
    if saved is not None:
        query = saved_query(saved).sql
    elif file is not None:
        try:
            query = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise QueryRefused(f"The query file {file} can't be read: {error}.") from None
    values = _params(param or [])
    with open_ledger(db, read_only=True) as ledger:
        if query is None and sys.stdin.isatty():
            from harness.cli.prompt import prompt

            prompt(ledger.surface, chosen, limit or None, timeout)
            return
        text = sys.stdin.read() if query is None else query
        if explain:
            print("\n".join(plan(ledger.surface, text, values, timeout)))
            return
        answer = ask(ledger.surface, text, values, timeout, limit or None)
    if chosen in BINARY and output is None and sys.stdout.isatty():
        raise typer.BadParameter(f"{chosen} is binary; name a file with --output or redirect stdout.")
    width = None if output is not None or not sys.stdout.isatty() else 60
    try:
        if output is None:
            write_rows(answer.names, answer.rows, chosen, sys.stdout.buffer, width, text)
            sys.stdout.buffer.flush()
        else:
            with output.open("wb") as sink:
                write_rows(answer.names, answer.rows, chosen, sink, width, text)
    except BrokenPipeError:  # `assay sql … | head`: see harness.cli.Commands
        raise
    except OSError as error:
        raise LedgerError(f"The answer can't be written to {output or 'stdout'}: {error}.") from None
    if answer.truncated:
        stderr().print(f"Only the first {limit:,} rows are shown: there are more. Raise --limit (0 for all), or narrow the query.")


def run_and_print(surface: Surface, text: str, format: Format, limit: int | None, timeout: float) -> None:
    """One query of the prompt."""
    from db.reading import ask

    answer = ask(surface, text, None, timeout, limit)
    write_rows(answer.names, answer.rows, "csv" if format in BINARY else format, sys.stdout.buffer)
    sys.stdout.buffer.flush()
    more = " (there are more: raise --limit)" if answer.truncated else ""
    stderr().print(f"{len(answer.rows)} rows{more}, {answer.seconds:.3f} s", style="dim")


def _format(name: str) -> Format:
    for known in FORMATS:
        if known == name:
            return known
    raise typer.BadParameter(f"{name!r} is not one of {', '.join(FORMATS)}.", param_hint="--format")


def _params(pairs: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE.", param_hint="--param")
        values[name] = _value(text)
    return values


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _list_saved() -> None:
    from db.saved import saved_queries, user_folder

    for query in saved_queries().values():
        origin = "" if query.origin == "assay" else f" [{query.origin}]"
        print(f"{query.name:<16}{query.doc}{origin}")
    stderr().print(f"Your own queries go to {user_folder()}/NAME.sql.", style="dim")
