"""`assay report`: everything the ledger holds as one self-contained HTML page, with the data beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, open_ledger, stderr
from harness.cli.filters import SinceOption, TagOption, WeightsOption, WhereOption, filter_of, weights_of


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    family: Annotated[list[str] | None, typer.Argument(help="Only these families; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for index.html, report.json and data/*.csv.")] = Path("assay-report"),
    where: WhereOption = None,
    tag: TagOption = None,
    since: SinceOption = "",
    weights: WeightsOption = "",
    missing: Annotated[str, typer.Option(help="How failed and missing results count: drop, worst or impute.")] = "drop",
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write the HTML report. The page works from the file and makes no request; stdout gets its path."""
    from typing import cast

    from reports.files import write
    from reports.report import report as build
    from reports.standings import Policy

    with open_ledger(db) as ledger:
        document = build(
            ledger,
            only=family or (),
            policy=cast(Policy, missing),
            narrow=filter_of(where, tag, since),
            weights=weights_of(weights),
        )
    written = list(write(document, out))
    size = sum(path.stat().st_size for path in written)
    stderr().print(f"Wrote {len(written)} files, {size / 1e6:.1f} MB. Open {written[0]} in a browser.", markup=False)
    print(written[0])
