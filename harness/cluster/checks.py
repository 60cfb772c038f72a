"""Whether a cluster fits what is about to be sent: versions, packages, resource shapes. Nothing is uploaded for it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata, resources

from harness.cluster import upload
from harness.cluster.client import Cluster
from harness.cluster.remote import entrypoint, run
from harness.engines.base import Shape
from harness.engines.fit import Node, fitting, refusal
from harness.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Software:
    """What runs somewhere: versions of Ray and Python, and of distributions (None: not installed)."""

    ray: str
    python: str
    packages: Mapping[str, str | None]
    executable: str = ""


def here() -> Software:
    """This machine's software."""
    import ray

    return Software(ray.__version__, platform.python_version(), {upload.DISTRIBUTION: upload.version()})


def software_of(cluster: Cluster) -> Software:
    """The head node's software: Ray's version is asked of the dashboard, the rest of a short job."""
    script = (resources.files("harness") / "cluster" / "probe.py").read_text()
    found = run(cluster, entrypoint("-c", script, upload.DISTRIBUTION, *requirements()), None, "probe")
    return Software(cluster.ray_version, found["python"], found["packages"], found["executable"])


def check_ray(cluster: Cluster) -> None:
    """Raise ClusterError where the cluster's Ray is another one than here."""
    mine = here().ray
    if cluster.ray_version != mine:
        raise ClusterError(f"The cluster at {cluster.url} runs Ray {cluster.ray_version}, this machine {mine}; {_REMEDY}.")


def check_software(url: str, there: Software, mine: Software, installed: bool) -> None:
    """Raise ClusterError where Python's minor version or (`installed`) Assay differ, or packages that Assay needs are missing there."""
    if there.python.split(".")[:2] != mine.python.split(".")[:2]:
        raise ClusterError(f"The cluster at {url} runs Python {there.python}, this machine {mine.python}; {_REMEDY}.")
    theirs, ours = there.packages[upload.DISTRIBUTION], mine.packages[upload.DISTRIBUTION]
    if installed and theirs != ours:
        raise ClusterError(
            f"The cluster at {url} has {f'Assay {theirs}' if theirs else 'no Assay'} installed, this machine has {ours}; install the same,"
            " or leave --installed out to send this one."
        )
    if missing := sorted(name for name, version in there.packages.items() if version is None and name != upload.DISTRIBUTION):
        raise ClusterError(
            f"The cluster's Python ({there.executable} on the head node of {url}) lacks {', '.join(missing)}; install Assay's"
            " requirements on its nodes."
        )


def check_shapes(cluster: Cluster, shapes: Iterable[Shape]) -> None:
    """Raise ClusterError for a resource shape that no node can ever carry, nor any that the cluster's autoscaler may start."""
    nodes: list[Node] = list(cluster.nodes())
    missing = [shape for shape in shapes if not fitting(shape, nodes)]
    if not missing:
        return
    script = (resources.files("harness") / "engines" / "growth.py").read_text()
    growth = run(cluster, entrypoint("-c", script), None, "growth")
    types = None if growth["types"] is None else [node for node, most in growth["types"] if most > 0]
    for shape in missing:
        if growth["grows"] is False or (types is not None and not fitting(shape, types)):
            raise ClusterError(refusal(shape, nodes, types))


def requirements() -> list[str]:
    """The distributions that Assay needs at run time."""
    declared = metadata.requires(upload.DISTRIBUTION) or []
    return [re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in declared if "extra ==" not in line]


_REMEDY = "use the same on both sides, or pass --any-version at your own risk"
