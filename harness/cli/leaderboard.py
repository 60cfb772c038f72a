"""`assay leaderboard FAMILY`: ranked results with intervals and groups that can't be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, FormatOption, check_format, open_ledger, print_document, stderr
from harness.cli.filters import CorrectionOption, SinceOption, TagOption, WeightsOption, WhereOption, correction_of, filter_of, weights_of

if TYPE_CHECKING:
    from db.ledger import Ledger
    from reports.stats.paired import PairedTest

#: Tests that people may ask for and that would throw the pairing away.
UNPAIRED = frozenset(
    {"welch", "mann-whitney", "mannwhitney", "mannwhitneyu", "unpaired", "ttest-ind", "brunner-munzel", "kruskal", "anova"}
)


def register(app: typer.Typer) -> None:
    app.command()(leaderboard)


def leaderboard(
    family: Annotated[str | None, typer.Argument(help="A family that the ledger holds; all of them when left out.")] = None,
    task: Annotated[str, typer.Option(help="Only this task (its id, or its name within the family).")] = "",
    metric: Annotated[str, typer.Option(help="Rank by this metric instead of the primary one.")] = "",
    output: FormatOption = "terminal",
    where: WhereOption = None,
    tag: TagOption = None,
    since: SinceOption = "",
    column: Annotated[list[str] | None, typer.Option(help="Show these columns or metrics, in this order; may be repeated.")] = None,
    columns_from: Annotated[Path | None, typer.Option(help="A Python file that defines more columns (docs/reports.md).")] = None,
    missing: Annotated[str, typer.Option(help="How failed and missing results count: drop, worst or impute.")] = "drop",
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Add every other metric, and the time of a trial.")] = False,
    old_versions: Annotated[bool, typer.Option("--old-versions", help="Also show older versions of tasks and methods.")] = False,
    baseline: Annotated[str, typer.Option(help="Add paired differences from this method (NAME or NAME:param=value).")] = "",
    test: Annotated[str, typer.Option(help="The paired test of --baseline: t, wilcoxon or permutation.")] = "t",
    correction: CorrectionOption = "holm",
    effects: Annotated[
        bool, typer.Option("--effects", help="Add effect sizes against --baseline: P(better), A12, Cliff's delta, d_z.")
    ] = False,
    weights: WeightsOption = "",
    top: Annotated[int, typer.Option(min=0, help="Rows per board on the terminal; 0 shows all.")] = 40,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print the leaderboards of a family: one per task and task params, then the one across its tasks."""
    from typing import cast

    from reports.across import shared_out
    from reports.boards import Question, load_boards
    from reports.errors import BadQuestion
    from reports.leaderboard import leaderboard as build
    from reports.plugins import load_entry_points, load_file
    from reports.questions import each
    from reports.standings import Policy

    if effects and not baseline:
        raise BadQuestion("--effects compares with a baseline; name it with --baseline.")
    check_format(output)
    for problem in load_entry_points():
        stderr().print(problem, markup=False)
    if columns_from is not None:
        load_file(columns_from)
    only, weighted = filter_of(where, tag, since), weights_of(weights)
    with open_ledger(db) as ledger:
        families = [family] if family else list_families(ledger)
        if len(families) > 1 and output in ("json", "csv"):
            raise BadQuestion(f"One {output} document holds one family; name one of {', '.join(families)}.")
        boards = each(families, lambda name: load_boards(ledger, Question(name, task, only, old_versions)))
    shares = shared_out(weighted, boards)
    for name in boards:
        document = build(
            name,
            boards[name],
            metric=metric or None,
            policy=cast(Policy, missing),
            columns=column,
            all_metrics=all_metrics,
            baseline=baseline,
            test=_test(test),
            correction=correction_of(correction),
            effects=effects,
            weights=shares[name],
            top=top if output == "terminal" and top else None,
        )
        print_document(document, output)


def _test(name: str) -> PairedTest:
    from reports.errors import BadQuestion
    from reports.stats.paired import TEST_TEXT

    for known in TEST_TEXT:
        if name == known:
            return known
    if name.lower().replace("_", "-") in UNPAIRED:
        raise BadQuestion(
            f"{name} treats the seeds of two methods as unrelated, but they are paired here; choose one of {', '.join(TEST_TEXT)}."
        )
    raise BadQuestion(f"Unknown test {name!r}; choose one of {', '.join(TEST_TEXT)}.")


def list_families(ledger: Ledger) -> list[str]:
    """Families that the ledger holds trials of; NothingToReport when it holds none."""
    from reports.boards import families as held
    from reports.errors import NothingToReport

    names = held(ledger)
    if not names:
        raise NothingToReport(f"{ledger.url} holds no trials yet; `assay run quickstart` makes some.")
    return names
