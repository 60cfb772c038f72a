"""`assay logs`: what a submitted job has printed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.submit import DashboardOption, JobArgument, follow_log


def register(app: typer.Typer) -> None:
    app.command()(logs)


def logs(
    job: JobArgument,
    address: DashboardOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print the log of a submitted job."""
    from harness.cluster.client import Cluster

    cluster = Cluster(address)
    if follow:
        follow_log(cluster, job, sys.stdout)
    else:
        sys.stdout.write(cluster.logs(job))
