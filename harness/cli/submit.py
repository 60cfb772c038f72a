"""`assay submit`: run a suite on a Ray cluster that only its dashboard reaches, detached from this machine."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from harness.cli.common import JsonOption, print_json, stderr
from harness.cli.plan import SuiteArgument
from harness.cli.run import BudgetOption, DeviceOption, TagOption, WorkersOption, load

if TYPE_CHECKING:
    from harness.cluster.client import Cluster, Job

DashboardOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="RAY_API_SERVER_ADDRESS",
        show_envvar=True,
        help="The Ray dashboard's address, e.g. http://head:8265 [default: port 8265 here].",
    ),
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The id that `assay submit` printed.")]


def register(app: typer.Typer) -> None:
    app.command()(submit)


def submit(
    suite: SuiteArgument,
    address: DashboardOption = None,
    db: Annotated[
        str | None,
        typer.Option(help="Ledger as the head node names it: a path, or a postgresql:// URL [default: ~/.assay/SUITE/assay.db there]."),
    ] = None,
    tag: TagOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
    budget: BudgetOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Give trials that failed in earlier runs new attempts.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print the job's log until it ends, and end with its exit code.")] = False,
    installed: Annotated[
        bool, typer.Option("--installed", help="Use the Assay that is installed on the cluster instead of sending this one.")
    ] = False,
    any_version: Annotated[bool, typer.Option("--any-version", help="Submit though Ray or Python differ.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a suite, with its plugins and Assay's code, to a Ray cluster as a job that goes on when this machine leaves.

    Submitting the same suite again continues in the same ledger.
    """
    from db.values import shown_command, without_password
    from harness.cluster.checks import check_ray, check_shapes, check_software, here, software_of
    from harness.cluster.client import Cluster
    from harness.cluster.submit import Order, default_ledger, packed, send
    from harness.fixtures import FixtureStore, default_cache
    from harness.plan import make_plan
    from harness.units import parse_duration
    from tasks.registry import REGISTRY

    if budget:
        try:
            parse_duration(budget)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--budget") from None
    loaded = load(suite)
    plan = make_plan(loaded, REGISTRY, None, FixtureStore(default_cache()))  # a mistake in the suite shows here, not in a log far away
    ledger = db or default_ledger(loaded.suite.name)
    options = [("--workers", workers), ("--device", device), ("--budget", budget)]
    arguments = [str(word) for name, value in options if value is not None for word in (name, value)]
    arguments += ["--retry-failed"] if retry_failed else []
    command = shown_command(sys.argv[1:])
    with packed(loaded, Order(ledger, arguments, command, tag or (), installed)) as parcel:
        cluster = Cluster(address)
        if not any_version:
            check_ray(cluster)
            check_software(cluster.url, software_of(cluster), here(), installed)
        check_shapes(cluster, dict.fromkeys(planned.shape for planned in plan.todo))
        send(cluster, parcel)
    job, shown = parcel.job, without_password(ledger)
    if as_json:
        print_json({"job": job, "address": cluster.url, "ledger": shown, "trials": len(plan.trials)})
    else:
        print(job)
        _print_next_steps(cluster, job, shown, len(plan.trials))
    if follow:
        follow_log(cluster, job, sys.stderr if as_json else sys.stdout)
        raise typer.Exit(exit_code(cluster.wait(job)))


def follow_log(cluster: Cluster, job: str, to: TextIO) -> None:
    """The job's log until it ends."""
    for text in cluster.follow(job):
        to.write(text)
        to.flush()


def exit_code(job: Job) -> int:
    """What `assay run` ended with there; 1 when it did not come to an end of its own."""
    return job.exit_code if job.exit_code is not None else 1


def _print_next_steps(cluster: Cluster, job: str, ledger: str, trials: int) -> None:
    where = shlex.join(["--address", cluster.url])
    console = stderr()
    for line in (
        f"{trials} trials, ledger {ledger} on the head node of {cluster.url}.",
        f"  assay status {job} {where}",
        f"  assay logs {job} -f {where}",
        f"  assay cancel {job} {where}",
        *([] if "://" in ledger else [f"  assay pull {job} --db assay.db {where}"]),
    ):
        console.print(line, markup=False, soft_wrap=True)
