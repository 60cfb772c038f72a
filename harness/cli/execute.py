"""How a suite that was loaded is run: ledger, spool and engine opened, planned, executed, and told how it ended."""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal

import typer

from harness.cli.common import open_ledger, print_json, stderr
from harness.errors import EXIT_FAILED_TRIALS, EXIT_INTERRUPTED, EXIT_TRIALS_LEFT

if TYPE_CHECKING:
    from db.ledger import Ledger
    from harness.engines.base import Engine, EngineSettings
    from harness.planned import Plan, PlannedTrial
    from harness.resolve import Config, What
    from harness.settling import Summary
    from harness.suite import LoadedSuite

EngineName = Literal["ray", "process", "inline"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything `assay run` and `assay retry` have in common."""

    db: str
    engine: EngineName
    workers: int | None
    address: str | None
    device: str
    as_json: bool
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """What may still be spent on starting trials: seconds and trials; None: no limit."""

    seconds: float | None = None
    trials: int | None = None

    @property
    def spent(self) -> bool:
        return (self.seconds is not None and self.seconds <= 0) or (self.trials is not None and self.trials <= 0)

    def less(self, seconds: float, trials: int) -> Budget:
        """What is left of it."""
        left = None if self.seconds is None else max(0.0, self.seconds - seconds)
        return Budget(left, None if self.trials is None else max(0, self.trials - trials))


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run of a suite ended: exit code, trials that got an attempt, trials left."""

    code: int
    tried: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """Which failed trials get new attempts, and with which time limit ("2x" of the old one, or a duration; None: unchanged)."""

    outcomes: frozenset[str] | None = None  #: None: whatever the outcome
    timeout: str | None = None
    only: bool = False  #: run nothing else

    def limit(self, before: float) -> float:
        """The new limit in seconds, given the old one. Raises BadParameter."""
        from harness.units import parse_duration

        if self.timeout is None:
            return before
        try:
            factor = re.fullmatch(r"(\d+(?:\.\d+)?)x", self.timeout)
            return before * float(factor[1]) if factor and float(factor[1]) else parse_duration(self.timeout)
        except ValueError as error:
            raise typer.BadParameter(f"{error}, or a factor such as 2x", param_hint="--timeout") from None


def run_suite(
    loaded: LoadedSuite, options: RunOptions, budget: Budget, retry: Retry | None, configs: frozenset[Config] | None = None
) -> Ended:
    """Plan, run (only trials of `configs` where given), report."""
    from harness.fixtures import FixtureStore, default_cache
    from harness.plan import damaged_fixtures, make_plan
    from tasks.registry import REGISTRY

    store = FixtureStore(default_cache())
    console = stderr()

    def planned(ledger: Ledger | None) -> Plan:
        plan = make_plan(loaded, REGISTRY, ledger, store)
        if configs is None:
            return plan
        from harness.resolve import only

        return only(plan, configs)

    # Without a ledger there is nothing to subtract: the suite's mistakes show before, and the ledger is made while the engine gets ready.
    fresh = planned(None) if _is_new(options.db) else None
    with _engine(options, ready=fresh is not None) as engine, open_ledger(options.db, create=True) as ledger:
        _ingest_spool(ledger, options.db)
        plan = fresh or planned(ledger)
        if retry is not None:
            reopened = _reopen(ledger, plan, retry)
            plan = _with_retries(planned(ledger), retry, reopened)
        for complaint in damaged_fixtures(plan, REGISTRY, store):
            console.print(complaint, style="yellow", markup=False)
        for reason, number in Counter(item.reason for item in plan.infeasible).items():
            console.print(f"{number} trials can't run: {reason}", style="yellow", markup=False)
        ledger.write_catalogue(plan.catalogue)
        if options.address is None and any(not fixture.present for fixture in plan.fixtures):
            store.require_writable()
        if not plan.todo:
            failed = f", {len(plan.failed)} failed earlier (--retry-failed tries them again)" if plan.failed else ""
            left = len(plan.trials) - len(plan.done) - len(plan.failed)  # there are none, unless only failed ones were to be run
            rest = f", {left} left to `assay run`" if left else ""
            nothing = "no failed trial to try again" if retry is not None and retry.only else "nothing to do"
            console.print(f"{loaded.suite.name}: {nothing}, {len(plan.done)} of {len(plan.trials)} trials are done{failed}{rest}.")
            if options.as_json:
                _print_summary(len(plan.trials), len(plan.done), len(plan.failed), left)
            return Ended(EXIT_FAILED_TRIALS if plan.failed else 0)
        tagged = replace(options, tags=(*loaded.suite.tags, *options.tags))
        summary = _execute(plan, ledger, engine, tagged, budget)
    return Ended(_conclude(plan, summary, options.as_json), summary.done + summary.failed, summary.left)


def run_until_resolved(loaded: LoadedSuite, options: RunOptions, budget: Budget, retry: Retry | None, max_seeds: int, what: What) -> int:
    """Run, look, add seeds to what is undecided, until nothing is, the seeds are used up or the budget of all looks together is; returns
    the last run's exit code. No look is taken at seeds that the budget cut short: the error rate holds for complete looks only."""
    from harness.fixtures import FixtureStore, default_cache
    from harness.plan import make_plan
    from harness.resolve import schedule, undecided, with_seeds
    from tasks.registry import REGISTRY

    console = stderr()
    levels, code = schedule(loaded, max_seeds), 0
    configs: frozenset[Config] | None = None
    for number, look in enumerate(levels, 1):
        current = with_seeds(loaded, look.seeds)
        began = monotonic()
        ended = run_suite(current, options, budget, retry, configs)
        code, budget = ended.code, budget.less(monotonic() - began, ended.tried)
        if code not in (0, EXIT_FAILED_TRIALS, EXIT_TRIALS_LEFT):
            return code
        if ended.left:
            console.print(f"The budget ended before look {number} at {look.seeds} seeds; the same command continues.", markup=False)
            return code
        with open_ledger(options.db) as ledger:
            plan = make_plan(current, REGISTRY, ledger, FixtureStore(default_cache()))
            found = undecided(ledger, plan, levels[:number], what)
        configs = found.configs
        parts = [f"{found.count} pairs can't be told apart yet"] if what != "claims" else []
        parts += [f"{len(found.claims)} claims are open"] if found.claims or what == "claims" else []
        console.print(f"Look {number} at {look.seeds} seeds: {', '.join(parts)}.", markup=False)
        if not configs:
            break
        if budget.spent and number < len(levels):
            console.print("The budget ended; the same command continues.")
            code = EXIT_TRIALS_LEFT
            break
    for board, pairs in found.pairs.items():
        for one, other in pairs:
            console.print(f"{board}: {one} and {other} can't be told apart with {look.seeds} seeds.", markup=False)
    for claim in found.claims:
        console.print(f"Claim {claim} is open with {look.seeds} seeds.", markup=False)
    return code


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

    def limited(planned: PlannedTrial) -> PlannedTrial:
        return replace(planned, timeout=retry.limit(planned.timeout)) if planned.trial.key in reopened else planned

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
    """Where outcomes wait while the ledger can't be written: beside a SQLite file, in the working folder for a server. Each ledger has its
    own: another one would refuse them."""
    from db.values import without_password

    file = db.removeprefix("sqlite:///")
    if "://" not in file:
        return f"{file}.spool"
    return f"assay-spool/{hashlib.sha256(without_password(db).encode()).hexdigest()[:12]}"


def _ingest_spool(ledger: Ledger, db: str) -> None:
    from db.spool import Spool
    from harness.recorder import ingest

    spool = Spool(spool_folder(db))
    number = ingest(spool, ledger, lambda trouble: stderr().print(trouble, style="yellow", markup=False, soft_wrap=True))
    if number:
        stderr().print(f"{number} attempts that an earlier run could not store were taken from {spool.folder}.")


def _is_new(db: str) -> bool:
    """Whether nothing is known of any trial: no ledger, and no spool of one."""
    file = db.removeprefix("sqlite:///")
    return "://" not in file and not Path(file).exists() and not Path(spool_folder(db)).exists()


@contextmanager
def _engine(options: RunOptions, ready: bool) -> Iterator[Engine]:
    """The engine, not started; with `ready` it begins what takes long."""
    from harness.engines import make_engine

    engine = make_engine(options.engine)
    try:
        if ready:
            engine.prepare(_settings(options))
        yield engine
    finally:
        engine.stop()


def _settings(options: RunOptions) -> EngineSettings:
    from harness.engines.base import EngineSettings
    from harness.fixtures import default_cache

    return EngineSettings(cache_dir=str(default_cache()), workers=options.workers, device=options.device, address=options.address)


def _execute(plan: Plan, ledger: Ledger, engine: Engine, options: RunOptions, budget: Budget) -> Summary:
    from db.errors import LedgerUnavailable
    from db.records import Environment, Run
    from db.spool import Spool
    from harness.identity import content_key
    from harness.progress import Progress
    from harness.provenance import environment
    from harness.scheduler import run_plan
    from harness.signals import Stop

    run_id = new_run_id()
    content = environment()
    started = Run(run_id, plan.suite, plan.suite_text, engine.name, sys.argv[1:], len(plan.trials), options.tags)
    ledger.start_run(started, Environment(content_key(content), content))
    status = "failed"
    try:
        with Stop() as stop, Progress(plan, run_id, as_json=options.as_json) as progress:
            summary = run_plan(
                plan,
                run_id,
                ledger,
                engine,
                _settings(options),
                spool=Spool(spool_folder(options.db)),
                budget_seconds=budget.seconds,
                budget_trials=budget.trials,
                on_event=progress.on_event,
                stop=stop,
            )
        status = "interrupted" if summary.interrupted else "incomplete" if summary.left else "complete"
    finally:
        ledger.finish_run(run_id, status)
    if summary.spooled:
        where = spool_folder(options.db)
        raise LedgerUnavailable(f"The ledger could not be written at the end: results wait in {where}, and the same command takes them in.")
    return summary


def _conclude(plan: Plan, summary: Summary, as_json: bool) -> int:
    """One line on how it ended and how to continue; returns the exit code."""
    from db.values import shown_command
    from harness.units import format_duration

    console = stderr()
    done = len(plan.done) + summary.done
    failed = len(plan.failed) + summary.failed
    if as_json:
        _print_summary(len(plan.trials), done, failed, summary.left)
    text = f"{done} of {len(plan.trials)} trials done in {format_duration(summary.seconds)}"
    console.print(f"{text}{f', {failed} failed' if failed else ''}{f', {summary.left} left' if summary.left else ''}.", markup=False)
    if summary.left:
        console.print(f"Continue with: {shlex.join(['assay', *shown_command(sys.argv[1:])])}", markup=False, soft_wrap=True)
    if summary.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_TRIALS_LEFT if summary.left else EXIT_FAILED_TRIALS if failed else 0


def _print_summary(planned: int, done: int, failed: int, left: int) -> None:
    """The last line of `--json`."""
    print_json({"event": "summary", "planned": planned, "done": done, "failed": failed, "left": left}, indent=None)
