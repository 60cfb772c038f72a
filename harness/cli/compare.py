"""`assay compare A B` and `assay gate`: what changed, with significance; a failing exit code on a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_document, stderr
from harness.cli.filters import CorrectionOption, SinceOption, TagOption, WhereOption, correction_of, filter_of
from harness.errors import EXIT_REGRESSION

if TYPE_CHECKING:
    from db.ledger import Ledger

ByOption = Annotated[str, typer.Option(help="What A and B are: method, commit, machine or ledger; found out by default.")]


def register(app: typer.Typer) -> None:
    app.command()(compare)
    app.command()(gate)


def compare(
    a: Annotated[str, typer.Argument(help="A method (NAME or NAME:param=value), commit, machine or ledger.")],
    b: Annotated[str, typer.Argument(help="What to compare with A.")],
    by: ByOption = "",
    metric: Annotated[str, typer.Option(help="Only this metric.")] = "",
    where: WhereOption = None,
    tag: TagOption = None,
    since: SinceOption = "",
    correction: CorrectionOption = "holm",
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
        a, b = _commits(ledger, a, b, by)
        only = filter_of(where, tag, since)
        found = run(
            ledger, a, b, by=cast(By, by) or None, metric=metric, other=open_ledger, only=only, correction=correction_of(correction)
        )
    print_document(comparison_document(found, everything=everything), "json" if as_json else "terminal")


def gate(
    base: Annotated[str, typer.Option(help="The commit (or a name that git knows here), machine or ledger to hold on to.")],
    head: Annotated[str, typer.Option(help="The one that must not be worse.")],
    by: ByOption = "",
    min_pairs: Annotated[int, typer.Option(min=1, help="Fail when fewer pairs of judged results were compared.")] = 1,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Ignore changes up to this share of the base value.")] = 0.0,
    every_metric: Annotated[bool, typer.Option("--every-metric", help="Judge all metrics, not only the primary ones and times.")] = False,
    where: WhereOption = None,
    tag: TagOption = None,
    since: SinceOption = "",
    as_json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Fail with exit code 4 when HEAD is worse than BASE beyond chance or lost results (for CI); with 1 when too little was compared."""
    from reports.compare import compare as run
    from reports.compare import comparison_document, judged, regressions
    from reports.errors import BadQuestion
    from reports.sides import By

    if by not in ("", "commit", "machine", "ledger"):
        raise BadQuestion(f"--by {by!r}: a gate compares commits, machines or ledgers.")
    with open_ledger(db if not _files(base, head) else base) as ledger:
        base, head = _commits(ledger, base, head, by)
        found = run(ledger, base, head, by=cast(By, by) or None, other=open_ledger, only=filter_of(where, tag, since))
        rows = ledger.query("SELECT task, metric FROM metrics WHERE is_primary = 1 OR unit IN ('s', 'seconds', 'ms')").to_pylist()
    metrics = set() if every_metric else {(row["task"], row["metric"]) for row in rows}
    worse = regressions(found, metrics, tolerance)
    pairs = sum(change.n for change in judged(found, metrics))
    print_document(comparison_document(found), "json" if as_json else "terminal")
    people = stderr()
    if worse or found.lost:
        lost = sum(len(one.seeds) for one in found.lost)
        regressed = f"{len(worse)} regression{'' if len(worse) == 1 else 's'}"
        people.print(f"assay: {regressed} from {base} to {head}, {lost} results lost.", markup=False)
        raise typer.Exit(EXIT_REGRESSION)
    if pairs < min_pairs:
        people.print(f"assay: {pairs} pairs were compared, fewer than the {min_pairs} asked for (--min-pairs): no verdict.", markup=False)
        raise typer.Exit(1)
    people.print(f"No regression from {base} to {head} in {pairs} pairs.", markup=False)


def _commits(ledger: Ledger, a: str, b: str, by: str) -> tuple[str, str]:
    """Names such as HEAD~1 or origin/main as the commits that git knows them by here, where the ledger does not know the names itself."""
    import subprocess

    from reports.errors import BadQuestion
    from reports.sides import kind_of

    if by not in ("", "commit"):
        return a, b
    try:
        kind_of(ledger, a, b)
        return a, b
    except BadQuestion:
        found = []
        for name in (a, b):
            command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
            try:
                answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
            except (OSError, subprocess.SubprocessError):
                return a, b
            found.append(answer.stdout.strip() or name)
        return found[0], found[1]


def _files(a: str, b: str) -> bool:
    from pathlib import Path

    return all("://" in name or Path(name).is_file() for name in (a, b))
