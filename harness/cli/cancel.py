"""`assay cancel`: stop a submitted job; its ledger stays, and submitting the suite again continues."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.common import stderr
from harness.cli.submit import DashboardOption, JobArgument

#: How long a job that was told to stop at once may take to commit before its processes are killed.
GRACE_SECONDS = 30.0


def register(app: typer.Typer) -> None:
    app.command()(cancel)


def cancel(
    job: JobArgument,
    address: DashboardOption = None,
    now: Annotated[bool, typer.Option("--now", help="Cancel the trials that are running, too.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the job has ended.")] = True,
) -> None:
    """Stop a submitted job: no new trials, those running are finished and recorded. With --now they are cancelled."""
    from harness.cluster.client import Cluster
    from harness.cluster.following import ended_how, stop_job

    cluster, console = Cluster(address), stderr()
    before = cluster.job(job)
    if before.over:
        console.print(f"{job} is over already: {ended_how(before)}.", markup=False)
        return
    stop_job(cluster, before, now, GRACE_SECONDS)
    if not (now or wait):
        console.print(f"{job} finishes the trials that are running; `assay status {job}` says when it has ended.", markup=False)
        return
    ended = cluster.wait(job)
    console.print(f"{job}: {ended_how(ended)}.", markup=False)
