"""Sends a suite to a cluster as a Ray job, after everything that can be checked from here has been checked."""

from __future__ import annotations

import getpass
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db.values import without_password
from harness.cluster import upload
from harness.cluster.client import Cluster
from harness.cluster.names import new_job_id
from harness.cluster.remote import entrypoint
from harness.suite import LoadedSuite


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to do. `arguments` go to `assay run` there; `command` is the command line to show for it."""

    db: str
    arguments: Sequence[str]
    command: Sequence[str]
    tags: Sequence[str] = ()
    installed: bool = False  #: use the Assay that is installed on the cluster instead of sending this one


@dataclass(frozen=True, slots=True)
class Parcel:
    """A job ready to be sent: its id, its upload, and what everybody may read about it on the dashboard."""

    job: str
    package: Path
    notes: Mapping[str, str]


def default_ledger(suite: str) -> str:
    """Where a suite's ledger lies on the head node unless somebody says otherwise: the same for each submission, so that they continue."""
    return f"~/.assay/{suite}/assay.db"


@contextmanager
def packed(loaded: LoadedSuite, order: Order) -> Iterator[Parcel]:
    """The job for `order`; its upload exists while entered. Raises ClusterError when it is larger than Ray takes."""
    job = new_job_id(loaded.suite.name)
    spec = {"job": job, "db": order.db, "arguments": list(order.arguments), "command": list(order.command)}
    sources = [*upload.suite(loaded, [*order.tags, job]), upload.spec(spec)]
    if not order.installed:
        sources += upload.code()
    notes = {
        "suite": loaded.suite.name,
        "ledger": without_password(order.db),
        "assay": upload.version(),
        "installed": str(order.installed).lower(),
        "submitted_by": f"{_user()}@{socket.gethostname()}",
    }
    with tempfile.TemporaryDirectory(prefix="assay-submit-") as scratch:
        package = Path(scratch) / "package.zip"
        upload.pack(sources, package)
        yield Parcel(job, package, notes)


def send(cluster: Cluster, parcel: Parcel) -> None:
    """Start the job on the cluster."""
    cluster.submit(entrypoint("-m", "harness.cluster.job", "run"), parcel.job, parcel.package, parcel.notes)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "unknown"
