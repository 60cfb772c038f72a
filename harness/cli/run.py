"""`assay run`: make every trial of a suite done. Running it again continues, or does nothing."""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_json, stderr
from harness.cli.plan import SuiteArgument
from harness.errors import EXIT_FAILED_TRIALS, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from db.ledger import Ledger
    from harness.engines.base import Engine, EngineSettings
    from harness.planned import Plan
    from harness.scheduler import Summary

EngineName = Literal["ray", "process", "inline"]


def register(app: typer.Typer) -> None:
    app.command()(run)


def run(
    suite: SuiteArgument,
    db: DbOption = DEFAULT_DB,
    engine: Annotated[EngineName, typer.Option(help="Where trials execute.")] = "ray",
    workers: Annotated[int | None, typer.Option(min=1, help="Workers at the same time [default: what the machine carries].")] = None,
    address: Annotated[str | None, typer.Option(help="Address of an existing Ray cluster.")] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device that tasks use.")] = "cpu",
    budget: Annotated[str | None, typer.Option(help="Stop starting trials after this time, e.g. 30m.")] = None,
    max_trials: Annotated[int | None, typer.Option(min=1, help="Stop after starting this many trials.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Give trials that failed in earlier runs new attempts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a suite: only trials that the ledger lacks. With --json, stdout carries one event per line."""
    from harness.fixtures import FixtureStore, default_cache
    from harness.plan import damaged_fixtures, make_plan
    from harness.suite import load_suite
    from harness.units import parse_duration
    from tasks.registry import REGISTRY

    try:
        seconds = parse_duration(budget) if budget else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--budget") from None
    loaded = load_suite(suite)
    store = FixtureStore(default_cache())
    console = stderr()
    with open_ledger(db, create=True) as ledger:
        _ingest_spool(ledger, db)
        plan = make_plan(loaded, REGISTRY, ledger, store)
        if retry_failed and plan.failed:
            ledger.reopen(sorted(plan.failed))
            plan = make_plan(loaded, REGISTRY, ledger, store)
        for complaint in damaged_fixtures(plan, REGISTRY, store):
            console.print(complaint, style="yellow", markup=False)
        for reason in dict.fromkeys(item.reason for item in plan.infeasible):
            number = sum(item.reason == reason for item in plan.infeasible)
            console.print(f"{number} trials can't run: {reason}", style="yellow", markup=False)
        ledger.write_catalogue(plan.catalogue)
        if not plan.todo:
            failed = f", {len(plan.failed)} failed earlier (--retry-failed tries them again)" if plan.failed else ""
            console.print(f"{loaded.suite.name}: nothing to do, {len(plan.done)} of {len(plan.trials)} trials are done{failed}.")
            if as_json:
                _print_summary(len(plan.trials), len(plan.done), len(plan.failed), 0)
            raise typer.Exit(EXIT_FAILED_TRIALS if plan.failed else 0)
        from harness.engines.base import EngineSettings

        settings = EngineSettings(cache_dir=str(default_cache()), workers=workers, device=device, address=address)
        limit = seconds if seconds is not None else loaded.suite.budget.time
        trials = max_trials if max_trials is not None else loaded.suite.budget.trials
        summary = _execute(plan, ledger, _engine(engine), settings, db, limit, trials, as_json)
    _conclude(plan, summary, suite, as_json)


def new_run_id() -> str:
    """Sortable by time and unique: 20261123T153000Z-4f9c21."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def spool_folder(db: str) -> str:
    """Where outcomes wait while the ledger can't be written: beside a SQLite file, in the working folder for a server."""
    return f"{db}.spool" if "://" not in db else "assay-spool"


def _ingest_spool(ledger: Ledger, db: str) -> None:
    from db.spool import Spool

    if number := Spool(spool_folder(db)).ingest(ledger):
        stderr().print(f"{number} attempts that an earlier run could not store were taken from {spool_folder(db)}.")


def _engine(name: EngineName) -> Engine:
    if name == "inline":
        from harness.engines.inline import InlineEngine

        return InlineEngine()
    if name == "process":
        from harness.engines.process import ProcessEngine

        return ProcessEngine()
    from harness.engines.ray import RayEngine

    return RayEngine()


def _execute(
    plan: Plan,
    ledger: Ledger,
    engine: Engine,
    settings: EngineSettings,
    db: str,
    budget_seconds: float | None,
    budget_trials: int | None,
    as_json: bool,
) -> Summary:
    from db.records import Environment, Run
    from db.spool import Spool
    from harness.identity import content_key
    from harness.progress import Progress
    from harness.provenance import environment
    from harness.scheduler import run_plan
    from harness.signals import Stop

    run_id = new_run_id()
    content = environment()
    ledger.start_run(
        Run(run_id, plan.suite, plan.suite_text, engine.name, sys.argv[1:], len(plan.trials)), Environment(content_key(content), content)
    )
    status = "failed"
    try:
        with Stop() as stop, Progress(plan, run_id, as_json=as_json) as progress:
            summary = run_plan(
                plan,
                run_id,
                ledger,
                engine,
                settings,
                spool=Spool(spool_folder(db)),
                budget_seconds=budget_seconds,
                budget_trials=budget_trials,
                on_event=progress.on_event,
                stop=stop,
            )
        status = "interrupted" if summary.interrupted else "incomplete" if summary.left else "complete"
    finally:
        ledger.finish_run(run_id, status)
    return summary


def _conclude(plan: Plan, summary: Summary, suite: str, as_json: bool) -> None:
    """One line on how it ended, the failures by sentence, and how to continue; then the exit code."""
    from harness.units import format_duration

    console = stderr()
    done = len(plan.done) + summary.done
    failed = len(plan.failed) + summary.failed
    if as_json:
        _print_summary(len(plan.trials), done, failed, summary.left)
    text = f"{done} of {len(plan.trials)} trials done in {format_duration(summary.seconds)}"
    console.print(f"{text}{f', {failed} failed' if failed else ''}{f', {summary.left} left' if summary.left else ''}.", markup=False)
    if summary.left:
        console.print(f"Continue with: assay run {suite}", markup=False)
    if summary.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if failed:
        raise typer.Exit(EXIT_FAILED_TRIALS)


def _print_summary(planned: int, done: int, failed: int, left: int) -> None:
    """The last line of `--json`."""
    print_json({"event": "summary", "planned": planned, "done": done, "failed": failed, "left": left}, indent=None)
