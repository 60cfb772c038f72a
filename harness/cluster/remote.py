"""Functions called on the head node from outside: each call is a short Ray job whose log carries the reply.

A dashboard offers no other way to run something on a cluster, and only its port needs to be reachable for this one.
"""

from __future__ import annotations

import json
import secrets
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.cluster.client import Cluster, Job
from harness.errors import ClusterError

#: Starts the line of a log that carries a reply (also written by probe.py, which can import nothing).
REPLY = "ASSAY-REPLY "

#: A job's shell is started by a Ray worker, which was started by the raylet with the Python that the node's Ray runs on. That Python need
#: not be the `python` on the path (nobody activated the environment), so it is read from the raylet's command line.
_PYTHON = (
    "raylet=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$PPID/status 2>/dev/null); "
    "python=$(tr '\\0' '\\n' </proc/$raylet/cmdline 2>/dev/null | sed -n 's/^--python_worker_command=\\([^ ]*\\) .*/\\1/p'); "
    'exec "${python:-python}" '
)


def entrypoint(*arguments: str) -> str:
    """The shell command that runs the cluster's Python with these arguments."""
    return _PYTHON + shlex.join(arguments)


def call(cluster: Cluster, function: str, arguments: dict[str, Any], package: Path | None) -> dict[str, Any]:
    """The reply of a function of `harness.cluster.job` on the head node. `package`: the code (None: the cluster's own Assay).

    Raises ClusterError with the sentence of an error that the function raised on purpose.
    """
    return run(cluster, entrypoint("-m", "harness.cluster.job", function, json.dumps(arguments)), package, function)


def run(cluster: Cluster, command: str, package: Path | None, purpose: str) -> dict[str, Any]:
    """Run a command that prints one reply; returns it, with the name of the Ray job under "call"."""
    job = f"assay-{purpose}-{secrets.token_hex(4)}"
    cluster.submit(command, job, package)
    ended = cluster.wait(job)
    log = cluster.logs(job)
    with suppress(ClusterError):  # only tidiness: the list of jobs is for those that somebody submitted
        cluster.forget(job)
    return {**_reply(cluster, log, ended, purpose), "call": job}


def _reply(cluster: Cluster, log: str, ended: Job, purpose: str) -> dict[str, Any]:
    for line in reversed(log.splitlines()):
        if line.startswith(REPLY):
            reply: dict[str, Any] = json.loads(line.removeprefix(REPLY))
            if "error" in reply:
                raise ClusterError(str(reply["error"]))
            return reply
    last = next((line for line in reversed((log or ended.message).splitlines()) if line.strip()), "it printed nothing")
    raise ClusterError(f"The head node of {cluster.url} could not answer ({purpose}): {last.strip()[:300]}")
