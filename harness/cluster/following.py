"""What one can do with a job that was submitted: where its ledger is, how it stands, how it is stopped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.values import without_password
from harness.cluster import upload
from harness.cluster.client import Cluster, Job
from harness.cluster.job import status
from harness.cluster.remote import call
from harness.errors import EXIT_FAILED_TRIALS, EXIT_INTERRUPTED, EXIT_TRIALS_LEFT, ClusterError
from harness.status import RunStatus


@contextmanager
def code_package(job: Job | None) -> Iterator[Path | None]:
    """Assay's code as a zip file to send along with a call; None for a job that uses the Assay installed on the cluster."""
    if job is not None and job.metadata.get("installed") == "true":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="assay-code-") as scratch:
        package = Path(scratch) / "code.zip"
        upload.pack(upload.code(), package)
        yield package


def ledger_of(job: Job | None) -> str:
    """The SQLite ledger a job writes, as the head node names it. Raises ClusterError where there is nothing to fetch."""
    ledger = job.metadata.get("ledger") if job else None
    if job is None or ledger is None:
        raise ClusterError(f"{job.id if job else 'The job'} was not started by `assay submit`; --ledger names a ledger on the head node.")
    if "://" in ledger and not ledger.startswith("sqlite"):
        raise ClusterError(f"{job.id} records in {ledger}: there is nothing to pull, read it with --db and that URL.")
    return ledger


def run_of(cluster: Cluster, job: Job, db: str) -> RunStatus | None:
    """How the job's run stands in its ledger, read by the head node, or from here when `db` is the URL of the server that the job records
    in; None before the run has begun, and where only a `db` could say the password (see `has_password`)."""
    ledger = job.metadata.get("ledger", "")
    if "://" in ledger and without_password(db) == ledger:
        found = status(job.id, db)["status"]
    elif not ledger or has_password(job):
        return None
    else:
        with code_package(job) as package:
            found = call(cluster, "status", {"job": job.id, "db": ledger}, package)["status"]
    return RunStatus(**found) if found else None


def has_password(job: Job) -> bool:
    """Whether the URL of the job's ledger holds a password, so that what the cluster knows of it does not suffice to read it."""
    return "***" in job.metadata.get("ledger", "")


def ended_how(job: Job) -> str:
    """How a job stands, in words: Ray calls every exit code but 0 a failure."""
    known = {
        0: "finished",
        EXIT_FAILED_TRIALS: "finished, some trials failed",
        EXIT_TRIALS_LEFT: "its budget ended; submitting again continues",
        EXIT_INTERRUPTED: "cancelled; submitting again continues",
    }
    if job.exit_code in known:
        return known[job.exit_code]
    if job.state == "FAILED":
        return f"failed, exit code {job.exit_code}: `assay logs {job.id}` says why"
    return {"STOPPED": "stopped; submitting again continues"}.get(job.state, job.state.lower())


def stop_job(cluster: Cluster, job: Job, now: bool, grace: float) -> None:
    """Ask the job to drain; with `now` to stop at once, and end its processes when it has not ended `grace` seconds later.

    Ray's own way to stop a job signals all its processes, trials included, and kills them three seconds later: that is the last resort.
    """
    with code_package(job) as package:
        asked = call(cluster, "drain", {"job": job.id, "now": now}, package)["asked"]
    if not asked or (now and not cluster.wait(job.id, grace).over):
        cluster.stop(job.id)
