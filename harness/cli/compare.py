"""`assay compare A B` and `assay gate`: what changed, with significance; a failing exit code on a regression."""

from __future__ import annotations

import sys
from typing import Annotated, cast

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, stderr, stdout
from harness.errors import EXIT_REGRESSION

ByOption = Annotated[str, typer.Option(help="What A and B are: method, commit, machine or ledger; found out by default.")]


def register(app: typer.Typer) -> None:
    app.command()(compare)
    app.command()(gate)


def compare(
    a: Annotated[str, typer.Argument(help="A method (NAME or NAME:param=value), commit, machine or ledger.")],
    b: Annotated[str, typer.Argument(help="What to compare with A.")],
    by: ByOption = "",
    metric: Annotated[str, typer.Option(help="Only this metric.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Also show what did not change.")] = False,
    as_json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Compare two methods, commits, machines or ledgers: what changed beyond chance, paired by task, configuration and seed."""
    from reports.compare import compare as run
    from reports.compare import comparison_document
    from reports.errors import BadQuestion
    from reports.sides import By

    if by not in ("", "method", "commit", "machine", "ledger"):
        raise BadQuestion(f"--by {by!r} is unknown; choose method, commit, machine or ledger.")
    with open_ledger(db if not _files(a, b) else a) as ledger:
        found = run(ledger, a, b, by=cast(By, by) or None, metric=metric, other=open_ledger)
    document = comparison_document(found, everything=everything)
    if as_json:
        from reports.render.data import render_json

        sys.stdout.write(render_json(document))
    else:
        from reports.render.terminal import render

        render(document, stdout())


def gate(
    base: Annotated[str, typer.Option(help="The commit, machine or ledger to hold on to.")],
    head: Annotated[str, typer.Option(help="The one that must not be worse.")],
    by: ByOption = "",
    min_pairs: Annotated[int, typer.Option(min=1, help="Fail when fewer pairs were compared.")] = 1,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Ignore changes up to this share of the base value.")] = 0.0,
    every_metric: Annotated[bool, typer.Option("--every-metric", help="Judge all metrics, not only the primary ones and times.")] = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Fail with exit code 4 when HEAD is worse than BASE beyond chance (for CI); with 1 when too little was compared to tell."""
    from reports.compare import compare as run
    from reports.compare import comparison_document, regressions
    from reports.sides import By

    with open_ledger(db if not _files(base, head) else base) as ledger:
        found = run(ledger, base, head, by=cast(By, by) or None, other=open_ledger)
        rows = ledger.query("SELECT task, metric FROM metrics WHERE is_primary = 1 OR unit IN ('s', 'seconds', 'ms')").to_pylist()
    worse = regressions(found, () if every_metric else [(row["task"], row["metric"]) for row in rows], tolerance)
    from reports.render.terminal import render

    render(comparison_document(found), stdout())
    people = stderr()
    if found.pairs < min_pairs:
        people.print(
            f"assay: {found.pairs} pairs were compared, fewer than the {min_pairs} asked for (--min-pairs): no verdict.", markup=False
        )
        raise typer.Exit(1)
    if worse:
        people.print(f"assay: {len(worse)} regressions from {base} to {head}.", markup=False)
        raise typer.Exit(EXIT_REGRESSION)
    people.print(f"No regression from {base} to {head} in {found.pairs} pairs.", markup=False)


def _files(a: str, b: str) -> bool:
    from pathlib import Path

    return all("://" in name or Path(name).is_file() for name in (a, b))
