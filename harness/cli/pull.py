"""`assay pull`: the results of a submitted job, merged into a ledger of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, stderr
from harness.cli.submit import DashboardOption
from harness.cli.transfer import print_imported, writable


def register(app: typer.Typer) -> None:
    app.command()(pull)


def pull(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="The id that `assay submit` printed; not needed with --ledger.")] = "",
    db: DbOption = DEFAULT_DB,
    address: DashboardOption = None,
    ledger: Annotated[str | None, typer.Option(help="A SQLite ledger on the head node, instead of the job's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch what a job has recorded so far and merge it into the ledger here. Pulling twice adds nothing twice."""
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    from db.bundle import import_bundle
    from harness.cluster.client import Cluster
    from harness.cluster.following import code_package, ledger_of
    from harness.cluster.pull import fetched

    if not job and not ledger:
        raise typer.BadParameter("name the job that `assay submit` printed, or a ledger with --ledger.", param_hint="JOB")
    cluster, console = Cluster(address), stderr()
    found = cluster.job(job) if job else None
    source = ledger or ledger_of(found)
    with (
        code_package(found) as package,
        Progress(
            *Progress.get_default_columns(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as bar,
    ):
        task = bar.add_task("ledger", total=None)
        with (
            fetched(cluster, source, package, lambda count, total: bar.update(task, completed=count, total=total)) as bundle,
            writable(db, create=True) as target,  # not before there is something to put into it
        ):
            done = import_bundle(target, bundle)
    if found is not None and not found.over:
        console.print(f"{job} is still {found.state.lower()}; pull again later for the rest.", markup=False)
    print_imported(done, as_json)
