"""`assay run`: make every trial of a suite done. Running it again continues, or does nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption
from harness.cli.execute import Budget, EngineName, Retry, RunOptions, run_suite, run_until_resolved
from harness.cli.plan import SuiteArgument

if TYPE_CHECKING:
    from harness.suite import LoadedSuite


EngineOption = Annotated[EngineName, typer.Option(help="Where trials execute.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Workers at the same time [default: what the machine carries].")]
AddressOption = Annotated[str | None, typer.Option(help="Address of an existing Ray cluster [default: RAY_ADDRESS, else none].")]
DeviceOption = Annotated[Literal["cpu", "cuda"], typer.Option(help="Device that tasks use.")]
BudgetOption = Annotated[str | None, typer.Option(help="Stop starting trials after this time, e.g. 30m.")]


def _tags(tags: list[str] | None) -> list[str] | None:
    from db.values import checked_tag

    try:
        return tags and [checked_tag(tag) for tag in tags]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--tag") from None


TagOption = Annotated[
    list[str] | None, typer.Option("--tag", help="Tag of this run, which the view `tags` shows; may be repeated.", callback=_tags)
]


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
    until_resolved: Annotated[
        bool,
        typer.Option(
            "--until-resolved",
            help="Add seeds to methods that can't be told apart yet and to what open claims are about, at a 5 % error rate each.",
        ),
    ] = False,
    resolve: Annotated[Literal["pairs", "claims", "both"], typer.Option(help="What --until-resolved is to decide.")] = "both",
    max_seeds: Annotated[int, typer.Option(min=2, help="Most seeds that --until-resolved goes to.")] = 64,
    tag: TagOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a suite: only trials that the ledger lacks. With --json, stdout carries one event per line."""
    options = RunOptions(db, engine, workers, _cluster(engine, address), device, as_json, tuple(tag or ()))
    loaded, again = load(suite), Retry() if retry_failed else None
    allowed = _budget(loaded, budget, max_trials)
    if until_resolved:
        raise typer.Exit(run_until_resolved(loaded, options, allowed, again, max_seeds, resolve))
    raise typer.Exit(run_suite(loaded, options, allowed, again).code)


def _cluster(engine: EngineName, address: str | None) -> str | None:
    """The Ray cluster that --address or Ray's own variable names; None: trials execute on this machine."""
    if engine == "ray":
        return address or os.environ.get("RAY_ADDRESS") or None
    if address:
        raise typer.BadParameter(f"the engine {engine} uses this machine only; a cluster needs --engine ray.", param_hint="--address")
    return None


def load(suite: str) -> LoadedSuite:
    """The suite by name or path."""
    from harness.suite import load_suite

    return load_suite(suite)


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
    tag: TagOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give trials that failed in earlier runs new attempts, and run nothing else."""
    from db.records import OUTCOMES

    if unknown := sorted(set(outcome or ()) - set(OUTCOMES) - {"quarantined"}):
        raise typer.BadParameter(f"{unknown[0]!r} is no outcome; outcomes are {', '.join(OUTCOMES)}, quarantined.", param_hint="--outcome")
    options = RunOptions(db, engine, workers, _cluster(engine, address), device, as_json, tuple(tag or ()))
    loaded = load(suite)
    again = Retry(frozenset(outcome) if outcome else None, timeout, only=True)
    again.limit(1.0)  # a mistake shows before the ledger is changed
    raise typer.Exit(run_suite(loaded, options, _budget(loaded, budget, None), again).code)


def _budget(loaded: LoadedSuite, time: str | None, trials: int | None) -> Budget:
    """The command line's budget, else the suite's."""
    from harness.units import parse_duration

    try:
        seconds = parse_duration(time) if time else loaded.suite.budget.time
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--budget") from None
    return Budget(seconds, trials if trials is not None else loaded.suite.budget.trials)
