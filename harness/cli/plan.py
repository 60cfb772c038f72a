"""`assay plan`: what a suite would run, what the ledger already holds, what can't run and why, and how long it may take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_json, stderr, stdout

if TYPE_CHECKING:
    from db.ledger import Ledger
    from harness.planned import Plan

SuiteArgument = Annotated[str, typer.Argument(help="A YAML file or the name of a built-in suite (`assay suite list`).")]


def register(app: typer.Typer) -> None:
    app.command()(plan)


def plan(
    suite: SuiteArgument,
    db: DbOption = DEFAULT_DB,
    workers: Annotated[int, typer.Option(min=1, help="Workers to assume in the estimate.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Show what a suite would run, without running it."""
    ledger = existing_ledger(db)
    planned = plan_against(suite, ledger)
    if ledger is not None:
        ledger.close()
    if as_json:
        print_json(plan_json(planned))
        return
    _print_plan(planned, workers)


def existing_ledger(db: str) -> Ledger | None:
    """The ledger opened for reading, or None when there is none yet (a plan against nothing is a fine thing to ask for)."""
    from pathlib import Path

    if "://" not in db and not Path(db).exists():
        return None
    return open_ledger(db)


def plan_against(suite: str, ledger: Ledger | None) -> Plan:
    """The plan of `suite` against `ledger`."""
    from harness.fixtures import FixtureStore, default_cache
    from harness.plan import make_plan
    from harness.suite import load_suite
    from tasks.registry import REGISTRY

    return make_plan(load_suite(suite), REGISTRY, ledger, FixtureStore(default_cache()))


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    todo = {planned.trial.key: planned for planned in plan.todo}
    infeasible = {item.trial.key: item.reason for item in plan.infeasible}

    def state(key: str) -> str:
        if key in plan.done:
            return "done"
        return "failed" if key in plan.failed else "todo"

    return {
        "suite": plan.suite,
        "trials": len(plan.trials),
        "todo": len(plan.todo),
        "done": len(plan.done),
        "failed": len(plan.failed),
        "infeasible": len(plan.infeasible),
        "seconds": plan.seconds,
        "fixtures": [{"fixture": item.name, "params": item.params, "present": item.present} for item in plan.fixtures],
        "rows": [
            {
                "trial": trial.key,
                "task": trial.task,
                "task_params": trial.task_params,
                "method": trial.method,
                "method_params": trial.method_params,
                "seed": trial.seed,
                "state": "infeasible" if trial.key in infeasible else state(trial.key),
                "reason": infeasible.get(trial.key),
                "seconds": todo[trial.key].seconds if trial.key in todo else None,
            }
            for trial in [*plan.trials, *(item.trial for item in plan.infeasible)]
        ],
    }


def _print_plan(plan: Plan, workers: int) -> None:
    from rich.table import Table

    from harness.units import format_duration

    counts: Counter[tuple[str, str]] = Counter((trial.task, trial.method) for trial in plan.trials)
    left = Counter((planned.trial.task, planned.trial.method) for planned in plan.todo)
    failed = Counter((trial.task, trial.method) for trial in plan.trials if trial.key in plan.failed)
    seconds: Counter[tuple[str, str]] = Counter()
    for planned in plan.todo:
        seconds[planned.trial.task, planned.trial.method] += planned.seconds  # type: ignore[assignment]
    table = Table("task", "method", box=None, header_style="bold", pad_edge=False)
    for name in ("trials", "done", "failed", "to do", "expected"):
        table.add_column(name, justify="right")
    for (task, method), count in counts.items():
        pair = (task, method)
        todo = left[pair]
        expected = format_duration(seconds[pair]) if todo else ""
        table.add_row(task, method, str(count), str(count - todo - failed[pair]), str(failed[pair] or ""), str(todo), expected)
    stdout().print(table)
    console = stderr()
    for reason, number in Counter(item.reason for item in plan.infeasible).items():
        console.print(f"{number} trials can't run: {reason}", style="yellow", markup=False)
    missing = [fixture for fixture in plan.fixtures if not fixture.present]
    fixtures = f", {len(missing)} of {len(plan.fixtures)} fixtures to build" if plan.fixtures else ""
    console.print(
        f"{len(plan.trials)} trials: {len(plan.done)} in the ledger, {len(plan.failed)} failed before, {len(plan.todo)} to do{fixtures}."
        f" About {format_duration(max(plan.seconds / workers, 0.1))} on {workers} workers."
        if plan.todo
        else f"{len(plan.trials)} trials: nothing to do ({len(plan.done)} in the ledger, {len(plan.failed)} failed before)."
    )
