"""Sends a suite to a cluster as a Ray job, after everything that can be checked from here has been checked."""

from __future__ import annotations

import getpass
import platform
import re
import socket
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from harness.cluster import upload
from harness.cluster.client import Cluster
from harness.cluster.names import new_job_id
from harness.cluster.remote import entrypoint, run
from harness.engines.base import Shape
from harness.engines.fit import Node, fitting, refusal
from harness.errors import ClusterError
from harness.suite import LoadedSuite


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to do. `arguments` go to `assay run` there; `command` is the command line to show for it."""

    db: str
    arguments: Sequence[str]
    command: Sequence[str]
    tags: Sequence[str] = ()
    installed: bool = False  #: use the Assay that is installed on the cluster instead of sending this one


def default_ledger(suite: str) -> str:
    """Where a suite's ledger lies on the head node unless somebody says otherwise: the same for each submission, so that they continue."""
    return f"~/.assay/{suite}/assay.db"


def submit(cluster: Cluster, loaded: LoadedSuite, order: Order) -> str:
    """Start the job; returns its id. Raises ClusterError when the upload is larger than Ray takes."""
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
        upload.pack(iter(sources), package)
        cluster.submit(entrypoint("-m", "harness.cluster.job", "run"), job, package, notes)
    return job


def check_versions(cluster: Cluster, installed: bool) -> None:
    """Raise ClusterError where the cluster's Ray, Python, packages or (with `installed`) Assay are others than here. Uploads nothing."""
    remedy = "use the same on both sides, or pass --any-version at your own risk"
    import ray

    if cluster.ray_version != ray.__version__:
        raise ClusterError(f"The cluster at {cluster.url} runs Ray {cluster.ray_version}, this machine {ray.__version__}; {remedy}.")
    found = probe(cluster)
    here = platform.python_version()
    if found["python"].split(".")[:2] != here.split(".")[:2]:
        raise ClusterError(f"The cluster at {cluster.url} runs Python {found['python']}, this machine {here}; {remedy}.")
    packages: Mapping[str, str | None] = found["packages"]
    if installed and packages[upload.DISTRIBUTION] != upload.version():
        theirs = packages[upload.DISTRIBUTION] or "none"
        raise ClusterError(
            f"The cluster at {cluster.url} has Assay {theirs} installed, this machine {upload.version()}; install the same, or leave"
            " --installed out to send this one."
        )
    if missing := sorted(name for name in requirements() if packages[name] is None):
        raise ClusterError(
            f"The Python of the cluster at {cluster.url} ({found['executable']}) lacks {', '.join(missing)}; install Assay's"
            " requirements on its nodes (pip install -c constraints.txt assay-bench)."
        )


def probe(cluster: Cluster) -> dict[str, Any]:
    """Python and package versions on the head node."""
    script = (resources.files("harness") / "cluster" / "probe.py").read_text()
    return run(cluster, entrypoint("-c", script, upload.DISTRIBUTION, *requirements()), None, "probe")


def check_shapes(cluster: Cluster, shapes: Iterable[Shape]) -> None:
    """Raise ClusterError for a resource shape that no node can ever carry."""
    nodes: list[Node] = list(cluster.nodes())
    for shape in shapes:
        if not fitting(shape, nodes):
            raise ClusterError(refusal(shape, nodes))


def requirements() -> list[str]:
    """The distributions that Assay needs at run time."""
    declared = metadata.requires(upload.DISTRIBUTION) or []
    return [re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in declared if "extra ==" not in line]


def without_password(db: str) -> str:
    """A ledger's URL, or a word of a command line that holds one, fit for showing."""
    return re.sub(r"(://[^/:@]*):[^@/]*@", r"\1:***@", db)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "unknown"
