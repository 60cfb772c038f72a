"""`assay run`: make every trial of a suite done. Running it again continues, or does nothing."""

from __future__ import annotations

import re
import secrets
import sys
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_json, stderr
from harness.cli.plan import SuiteArgument
from harness.errors import EXIT_FAILED_TRIALS, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from db.ledger import Ledger
    from harness.engines.base import Engine
    from harness.planned import Plan, PlannedTrial
    from harness.scheduler import Summary

EngineName = Literal["ray", "process", "inline"]


EngineOption = Annotated[EngineName, typer.Option(help="Where trials execute.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Workers at the same time [default: what the machine carries].")]
AddressOption = Annotated[str | None, typer.Option(help="Address of an existing Ray cluster.")]
DeviceOption = Annotated[Literal["cpu", "cuda"], typer.Option(help="Device that tasks use.")]
BudgetOption = Annotated[str | None, typer.Option(help="Stop starting trials after this time, e.g. 30m.")]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything `assay run` and `assay retry` have in common."""

    db: str
    engine: EngineName
    workers: int | None
    address: str | None
    device: str
    budget: str | None
    max_trials: int | None
    as_json: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """Which failed trials get new attempts, and with which time limit ("2x" of the old one, or a duration; None: unchanged)."""

    outcomes: frozenset[str] | None = None  #: None: whatever the outcome
    timeout: str | None = None
    only: bool = False  #: run nothing else


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(retry)


def run(
    suite: SuiteArgument,
    db: DbOption = DEFAULT_DB,
    engine: EngineOption = "ray",
    workers: WorkersOption = None,
    address: AddressOption = None,
    device: DeviceOption = "cpu",
    budget: BudgetOption = None,
    max_trials: Annotated[int | None, typer.Option(min=1, help="Stop after starting this many trials.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Give trials that failed in earlier runs new attempts.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a suite: only trials that the ledger lacks. With --json, stdout carries one event per line."""
    options = RunOptions(db, engine, workers, address, device, budget, max_trials, as_json)
    run_suite(suite, options, Retry() if retry_failed else None)


def retry(
    suite: SuiteArgument,
    outcome: Annotated[list[str] | None, typer.Option(help="Only trials that ended so (timeout, error, ...); may be repeated.")] = None,
    timeout: Annotated[str | None, typer.Option(help='New limit per trial: a factor such as "2x", or a duration such as "30m".')] = None,
    db: DbOption = DEFAULT_DB,
    engine: EngineOption = "ray",
    workers: WorkersOption = None,
    address: AddressOption = None,
    device: DeviceOption = "cpu",
    budget: BudgetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give trials that failed in earlier runs new attempts, and run nothing else."""
    from db.records import OUTCOMES

    if unknown := sorted(set(outcome or ()) - set(OUTCOMES) - {"quarantined"}):
        raise typer.BadParameter(f"{unknown[0]!r} is no outcome; outcomes are {', '.join(OUTCOMES)}, quarantined.", param_hint="--outcome")
    options = RunOptions(db, engine, workers, address, device, budget, None, as_json)
    run_suite(suite, options, Retry(frozenset(outcome) if outcome else None, timeout, only=True))


def run_suite(suite: str, options: RunOptions, retry: Retry | None) -> None:
    """Plan, run, report; exits the process with the run's exit code."""
    from harness.fixtures import FixtureStore, default_cache
    from harness.plan import damaged_fixtures, make_plan
    from harness.suite import load_suite
    from harness.units import parse_duration
    from tasks.registry import REGISTRY

    try:
        seconds = parse_duration(options.budget) if options.budget else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--budget") from None
    loaded = load_suite(suite)
    store = FixtureStore(default_cache())
    console = stderr()
    with open_ledger(options.db, create=True) as ledger:
        _ingest_spool(ledger, options.db)
        plan = make_plan(loaded, REGISTRY, ledger, store)
        if retry is not None:
            reopened = _reopen(ledger, plan, retry)
            plan = _with_retries(make_plan(loaded, REGISTRY, ledger, store), retry, reopened)
        for complaint in damaged_fixtures(plan, REGISTRY, store):
            console.print(complaint, style="yellow", markup=False)
        for reason, number in Counter(item.reason for item in plan.infeasible).items():
            console.print(f"{number} trials can't run: {reason}", style="yellow", markup=False)
        ledger.write_catalogue(plan.catalogue)
        if not plan.todo:
            failed = f", {len(plan.failed)} failed earlier (--retry-failed tries them again)" if plan.failed else ""
            console.print(f"{loaded.suite.name}: nothing to do, {len(plan.done)} of {len(plan.trials)} trials are done{failed}.")
            if options.as_json:
                _print_summary(len(plan.trials), len(plan.done), len(plan.failed), 0)
            raise typer.Exit(EXIT_FAILED_TRIALS if plan.failed else 0)
        budget = loaded.suite.budget
        limit = seconds if seconds is not None else budget.time
        trials = options.max_trials if options.max_trials is not None else budget.trials
        summary = _execute(plan, ledger, options, limit, trials)
    _conclude(plan, summary, suite, options.as_json)


def _reopen(ledger: Ledger, plan: Plan, retry: Retry) -> frozenset[str]:
    """Make the failed trials of the plan that `retry` means pending again; returns their keys."""
    rows = ledger.query("SELECT trial, outcome, state FROM trials WHERE state IN ('failed', 'quarantined')").to_pylist()
    keys = {
        row["trial"]
        for row in rows
        if row["trial"] in plan.failed and (retry.outcomes is None or retry.outcomes & {row["outcome"], row["state"]})
    }
    ledger.reopen(sorted(keys))
    return frozenset(keys)


def _with_retries(plan: Plan, retry: Retry, reopened: frozenset[str]) -> Plan:
    """The plan with new time limits for reopened trials, and (with `only`) nothing but them."""
    from harness.units import parse_duration

    def limited(planned: PlannedTrial) -> PlannedTrial:
        if retry.timeout is None or planned.trial.key not in reopened:
            return planned
        try:
            factor = re.fullmatch(r"(\d+(?:\.\d+)?)x", retry.timeout)
            timeout = planned.timeout * float(factor[1]) if factor and float(factor[1]) else parse_duration(retry.timeout)
        except ValueError as error:
            raise typer.BadParameter(f"{error}, or a factor such as 2x", param_hint="--timeout") from None
        return replace(planned, timeout=timeout)

    todo = [limited(planned) for planned in plan.todo if not retry.only or planned.trial.key in reopened]
    needed = {key for planned in todo for key in planned.fixtures}
    for fixture in reversed(plan.fixtures):  # in build order: what a needed fixture needs stands before it
        if fixture.key in needed:
            needed.update(fixture.needs)
    return replace(plan, todo=todo, fixtures=[fixture for fixture in plan.fixtures if fixture.key in needed])


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


def _execute(plan: Plan, ledger: Ledger, options: RunOptions, budget_seconds: float | None, budget_trials: int | None) -> Summary:
    from db.records import Environment, Run
    from db.spool import Spool
    from harness.engines.base import EngineSettings
    from harness.fixtures import default_cache
    from harness.identity import content_key
    from harness.progress import Progress
    from harness.provenance import environment
    from harness.scheduler import run_plan
    from harness.signals import Stop

    run_id = new_run_id()
    content = environment()
    engine = _engine(options.engine)
    settings = EngineSettings(cache_dir=str(default_cache()), workers=options.workers, device=options.device, address=options.address)
    ledger.start_run(
        Run(run_id, plan.suite, plan.suite_text, engine.name, sys.argv[1:], len(plan.trials)), Environment(content_key(content), content)
    )
    status = "failed"
    try:
        with Stop() as stop, Progress(plan, run_id, as_json=options.as_json) as progress:
            summary = run_plan(
                plan,
                run_id,
                ledger,
                engine,
                settings,
                spool=Spool(spool_folder(options.db)),
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
