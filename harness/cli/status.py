"""`assay status`: how a run stands, read from the ledger; works for runs started elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_json, stdout


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    run: Annotated[str, typer.Argument(help="A run's id or the first characters of it; the newest when left out.")] = "",
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Show how a run stands: trials by state, attempts by outcome, speed and time left."""
    from harness.status import SILENCE_SECONDS, latest_run, run_status
    from harness.units import format_duration

    with open_ledger(db) as ledger:
        found = run_status(ledger, latest_run(ledger, run))
    if as_json:
        print_json(asdict(found))
        return
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
        lines.append(f"speed     {found.per_second:.2f} attempts/s on {found.workers} workers, last at {found.last_attempt}{left}")
    if found.status == "running" and found.silent_seconds > SILENCE_SECONDS:
        lines.append(
            f"silent    for {format_duration(found.silent_seconds)}: its trials are long, or its coordinator is gone"
            " (the same `assay run` continues it)"
        )
    for line in lines:
        stdout().print(line, markup=False)
