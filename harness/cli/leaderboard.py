"""`assay leaderboard FAMILY`: ranked results with intervals and groups that can't be told apart."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, open_ledger, stdout

FORMATS = ("terminal", "markdown", "json", "csv")


def register(app: typer.Typer) -> None:
    app.command()(leaderboard)


def leaderboard(
    family: Annotated[str, typer.Argument(help="A family that the ledger holds, for instance quantization.")],
    task: Annotated[str, typer.Option(help="Only this task (its id, or its name within the family).")] = "",
    metric: Annotated[str, typer.Option(help="Rank by this metric instead of the primary one.")] = "",
    output: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(FORMATS)}.")] = "terminal",
    where: Annotated[list[str] | None, typer.Option(help="NAME=VALUE on a param, method, task or seed; may be repeated.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="Show these columns, in this order; may be repeated.")] = None,
    missing: Annotated[str, typer.Option(help="How failed and missing results count: drop, worst or impute.")] = "drop",
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Add every other metric.")] = False,
    old_versions: Annotated[bool, typer.Option("--old-versions", help="Also show older versions of tasks and methods.")] = False,
    top: Annotated[int, typer.Option(min=0, help="Rows per board on the terminal; 0 shows all.")] = 40,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print the leaderboards of a family: one per task and task params."""
    from typing import cast

    from reports.boards import Question, load_boards
    from reports.errors import BadQuestion
    from reports.leaderboard import leaderboard as build
    from reports.standings import Policy

    if output not in FORMATS:
        raise BadQuestion(f"Unknown format {output!r}; choose one of {', '.join(FORMATS)}.")
    with open_ledger(db) as ledger:
        boards = load_boards(ledger, Question(family, task, tuple(where or ()), old_versions))
    document = build(
        family,
        boards,
        metric=metric or None,
        policy=cast(Policy, missing),
        columns=column,
        all_metrics=all_metrics,
        top=top if output == "terminal" and top else None,
    )
    if output == "terminal":
        from reports.render.terminal import render

        render(document, stdout())
    elif output == "markdown":
        from reports.render import markdown

        sys.stdout.write(markdown.render(document))
    else:
        from reports.render.data import render_csv, render_json

        sys.stdout.write(render_json(document) if output == "json" else render_csv(document.tables()))
