"""`assay why CELL-ID`: where a number of a report comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_document
from harness.cli.filters import SinceOption, TagOption, WhereOption, filter_of


def register(app: typer.Typer) -> None:
    app.command()(why)


def why(
    cell: Annotated[str, typer.Argument(help="The id shown when a cell of the HTML report is opened, or in the JSON output.")],
    where: WhereOption = None,
    tag: TagOption = None,
    since: SinceOption = "",
    missing: Annotated[str, typer.Option(help="How failed and missing results counted: drop, worst or impute.")] = "drop",
    as_json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print the SQL, the values and the trials behind one number, given the options that the leaderboard or report was made with."""
    from typing import cast

    from reports.standings import Policy
    from reports.why import why as build

    with open_ledger(db) as ledger:
        document = build(ledger, cell, filter_of(where, tag, since), cast(Policy, missing))
    print_document(document, "json" if as_json else "terminal")
