"""`assay reproduce`, `assay audit`, `assay check`: does a number come out again, and do tasks and methods keep their promises?"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_json, stderr, stdout
from harness.cli.show import TrialArgument, find_trial
from harness.errors import NotInLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.ledger import Ledger
    from harness.engines.base import EngineSettings
    from harness.reproduce import Comparison

EXIT_DIFFERENT = 1

AGREEMENTS = ("bitwise", "within_tolerance", "different", "largest_deviation")
#: What an audit found, in repetitions by task and condition.
COUNTS = """
    SELECT task, condition, sum(CASE WHEN verdict = 'bitwise' THEN 1 ELSE 0 END) AS bitwise,
        sum(CASE WHEN verdict = 'within tolerance' THEN 1 ELSE 0 END) AS within_tolerance,
        sum(CASE WHEN verdict = 'different' THEN 1 ELSE 0 END) AS different, max(deviation) AS largest_deviation
    FROM audits WHERE run = :run GROUP BY task, condition ORDER BY task, condition"""


def register(app: typer.Typer) -> None:
    app.command()(reproduce)
    app.command()(audit)
    app.command()(check)


def reproduce(
    trial: TrialArgument,
    db: DbOption = DEFAULT_DB,
    threads: Annotated[int, typer.Option(min=1, help="BLAS/OMP threads of the worker.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Run a trial again in a fresh process and compare with the accepted result (exit 1 when a value differs)."""
    from harness.reproduce import against_accepted, repeat, repeatable
    from tasks.registry import REGISTRY

    with open_ledger(db, read_only=False) as ledger:
        found = repeatable(ledger, REGISTRY, find_trial(ledger, trial))
        with _run(ledger, "reproduce") as run:
            (again,) = repeat(ledger, run, found, _settings(threads), ["again"])
            comparisons = against_accepted(found, "again", again)
    if as_json:
        print_json([asdict(item) for item in comparisons])
    else:
        _print(comparisons)
    if any(item.agreement == "different" for item in comparisons):
        raise typer.Exit(EXIT_DIFFERENT)


def audit(
    family: Annotated[str | None, typer.Argument(help="Only this family.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many trials to repeat.")] = 10,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Repeat a sample of trials twice in another worker and once with another number of threads; store and count the agreement (exit 1
    when no trial could be repeated)."""
    from harness.reproduce import CannotReproduce, repeatable, sample
    from harness.reproduce import audit as audit_trial
    from tasks.registry import REGISTRY

    console = stderr()
    with open_ledger(db, read_only=False) as ledger:
        if not (keys := sample(ledger, trials, family)):
            raise NotInLedger(f"{ledger.url} holds no finished trial{f' of a family {family!r}' if family else ''} that could be repeated.")
        with _run(ledger, "audit") as run:
            for number, key in enumerate(keys, 1):
                console.print(f"[{number}/{len(keys)}] {key[:12]}", markup=False)
                try:
                    audit_trial(ledger, run, repeatable(ledger, REGISTRY, key), _settings(1))
                except CannotReproduce as error:  # of other code than this, perhaps: the others can be repeated
                    console.print(str(error), style="yellow", markup=False)
            rows = ledger.query(COUNTS, {"run": run}).to_pylist()
    if as_json:
        print_json(rows)
    else:
        _print_counts(rows)
    if not rows:
        raise typer.Exit(EXIT_DIFFERENT)


def _print_counts(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(*("task", "condition", *(name.replace("_", " ") for name in AGREEMENTS)), box=None, header_style="bold", pad_edge=False)
    for row in rows:
        largest = "" if row["largest_deviation"] is None else f"{row['largest_deviation']:.2g}"
        table.add_row(row["task"], row["condition"], *(str(row[name]) for name in AGREEMENTS[:-1]), largest)
    stdout().print(table)


def check(
    task: Annotated[str, typer.Argument(help="Task id, family/name.")],
    method: Annotated[str | None, typer.Argument(help="Method; all that the task accepts when left out.")] = None,
    plugin: Annotated[list[str] | None, typer.Option(help="Plugin module or .py file that defines them.")] = None,
) -> None:
    """Run the conformance checks on a task and a method: same seed same bits, metrics declared, no network, nothing written elsewhere."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from tasks.registry import REGISTRY, resolve
    from tasks.testing import check_task_method

    for item in plugin or ():
        REGISTRY.load_plugin(item)
    task_class = REGISTRY.task(task)
    task_object = resolve(task_class, dict(task_class.check_params), f"task {task}")
    methods = [REGISTRY.method(method, task_class.family)] if method else list(REGISTRY.methods_for(task_class))
    problems = 0
    with TemporaryDirectory(prefix="assay-check-") as folder:
        for method_class in methods:
            for result in check_task_method(task_object, method_class(), Path(folder)):
                problems += bool(result.problem)
                stdout().print(f"{method_class.id()}: {result.rule}: {result.problem or 'ok'}", markup=False)
    if problems:
        raise typer.Exit(EXIT_DIFFERENT)


def _settings(threads: int) -> EngineSettings:
    from harness.engines.base import EngineSettings
    from harness.fixtures import default_cache

    return EngineSettings(cache_dir=str(default_cache()), workers=1, threads=threads)


@contextmanager
def _run(ledger: Ledger, name: str) -> Iterator[str]:
    """A run of its own for the repetitions, finished however it ends."""
    from db.records import Environment, Run
    from harness.cli.execute import new_run_id
    from harness.identity import content_key
    from harness.provenance import environment

    run_id, content = new_run_id(), environment()
    ledger.start_run(Run(run_id, name, "", "process", sys.argv[1:], 0), Environment(content_key(content), content))
    status = "failed"
    try:
        yield run_id
        status = "complete"
    finally:
        ledger.finish_run(run_id, status)


def _print(comparisons: list[Comparison]) -> None:
    from rich.table import Table

    table = Table("metric", "accepted", "again", "agreement", box=None, header_style="bold", pad_edge=False)
    for item in comparisons:
        metric = item.metric if item.step is None else f"{item.metric} at {item.step:g}"
        table.add_row(metric, f"{item.accepted:.9g}", f"{item.again:.9g}", item.agreement)
    stdout().print(table)
