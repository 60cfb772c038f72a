"""`assay why CELL-ID`: where a number of a report comes from."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, stdout


def register(app: typer.Typer) -> None:
    app.command()(why)


def why(
    cell: Annotated[str, typer.Argument(help="The id shown when a cell of the HTML report is opened, or in the JSON output.")],
    as_json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print the SQL, the values and the trials behind one number of a leaderboard."""
    from reports.why import why as build

    with open_ledger(db) as ledger:
        document = build(ledger, cell)
    if as_json:
        from reports.render.data import render_json

        sys.stdout.write(render_json(document))
    else:
        from reports.render.terminal import render

        render(document, stdout())
