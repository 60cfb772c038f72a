"""`assay status`: how a run stands, read from the ledger; works for runs started elsewhere, and for jobs on a cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_json, stdout
from harness.cli.submit import DashboardOption

if TYPE_CHECKING:
    from harness.status import RunStatus


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    run: Annotated[
        str,
        typer.Argument(help="A run's id or the first characters of it (left out: the newest), or a job that `assay submit` started."),
    ] = "",
    db: DbOption = DEFAULT_DB,
    address: DashboardOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a run stands: trials by state, attempts by outcome, speed and time left."""
    from harness.cluster.names import is_job
    from harness.status import latest_run, run_status

    if is_job(run):
        _job_status(run, db, address, as_json)
        return
    with open_ledger(db) as ledger:
        found = run_status(ledger, latest_run(ledger, run))
    if as_json:
        print_json(asdict(found))
        return
    _print_lines(_lines(found))


def _job_status(job: str, db: str, address: str | None, as_json: bool) -> None:
    from harness.cluster.client import Cluster
    from harness.cluster.following import ended_how, has_password, run_of

    cluster = Cluster(address)
    found = cluster.job(job)
    run = run_of(cluster, found, db)
    if as_json:
        print_json({"job": job, "state": found.state, "exit_code": found.exit_code, **found.metadata, "run": asdict(run) if run else None})
        return
    lines = [f"job       {job} ({ended_how(found)})", f"ledger    {found.metadata.get('ledger', 'unknown')} on {cluster.url}"]
    if run is None and has_password(found):
        lines.append("run       its trials are shown with --db and the ledger's URL: the cluster does not keep the password")
    _print_lines(lines + (_lines(run) if run else []))


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        stdout().print(line, markup=False)


def _lines(found: RunStatus) -> list[str]:
    from harness.status import SILENCE_SECONDS
    from harness.units import format_duration

    ended = f", finished {found.finished}" if found.finished else ""
    states = ", ".join(f"{count} {name}" for name, count in sorted(found.states.items()))
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(found.outcomes.items())) or "none"
    lines = [
        f"run       {found.run} ({found.status}), suite {found.suite}, engine {found.engine}",
        f"started   {found.started}{ended}",
        f"trials    {found.planned} planned: {states or 'none submitted'}",
        f"attempts  {outcomes}",
    ]
    if found.per_second:
        left = f", about {format_duration(found.seconds_left)} left" if found.seconds_left else ""
        workers = f"{found.workers} busy worker{'s' * (found.workers != 1)}"
        lines.append(f"speed     {found.per_second:.2f} attempts/s on {workers}, last at {found.last_attempt}{left}")
    if found.status == "running" and found.silent_seconds > SILENCE_SECONDS:
        lines.append(
            f"silent    for {format_duration(found.silent_seconds)}: its trials are long, or its coordinator is gone"
            " (the same `assay run` continues it)"
        )
    return lines
