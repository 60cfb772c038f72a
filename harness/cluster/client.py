"""A Ray cluster seen from outside, through its dashboard: versions, nodes, jobs and their logs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import ClusterError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
#: Ray's own names for where the dashboard is and for the token (a file beats nothing, the variable beats a file).
ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
TOKEN_VARIABLE, TOKEN_PATH_VARIABLE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

#: How long the first answer of the dashboard may take; later ones may carry megabytes.
CONNECT_SECONDS = 15.0
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """A Ray job. `state` is PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; times are Unix seconds."""

    id: str
    state: str
    message: str
    exit_code: int | None
    metadata: Mapping[str, str]
    started: float | None
    finished: float | None

    @property
    def over(self) -> bool:
        return self.state in ("STOPPED", "SUCCEEDED", "FAILED")


class Cluster:
    """The cluster behind a dashboard address. Every method raises ClusterError with one sentence when the cluster can't do its part."""

    def __init__(self, address: str | None = None) -> None:
        """`address`: the dashboard's, with or without http://; None: this machine. Sends Ray's token where the cluster asks for one."""
        self.url = dashboard_url(address)
        requests, aiohttp, sdk = _libraries()
        self._get = requests.get
        self._failures = (requests.exceptions.RequestException, ConnectionError)
        self._broken = (RuntimeError, OSError, aiohttp.ClientError)  #: what following a log raises when the connection breaks
        self._token, self._token_from = _token()
        self._headers = {}
        if self._asks_for_token():  # never shown to a server that does not ask
            if not self._token:
                raise self._refused()
            self._headers = {"Authorization": f"Bearer {self._token}"}
        version = self._json("/api/version")
        self.ray_version = str(version["ray_version"])
        with self._translated(), _without_address_variables():
            self._jobs = sdk.JobSubmissionClient(self.url, headers=dict(self._headers))

    def nodes(self) -> list[dict[str, float]]:
        """What each living node has in all, by Ray's resource names."""
        found = self._json("/api/v0/nodes?filter_keys=state&filter_predicates=%3D&filter_values=ALIVE&limit=10000")
        return [node["resources_total"] for node in found["data"]["result"]["result"]]

    def submit(self, entrypoint: str, job: str, package: Path | None = None, metadata: Mapping[str, str] | None = None) -> None:
        """Start `entrypoint` (a shell command) as the Ray job `job`, in a folder with the content of the zip file `package`."""
        with self._translated():
            environment = {"working_dir": str(package)} if package else {}
            self._jobs.submit_job(entrypoint=entrypoint, submission_id=job, runtime_env=environment, metadata=dict(metadata or {}))

    def job(self, job: str) -> Job:
        """How a job stands."""
        with self._translated(job):
            info = self._jobs.get_job_info(job)
        started, finished = (value / 1000 if value else None for value in (info.start_time, info.end_time))
        return Job(job, str(info.status.value), info.message or "", info.driver_exit_code, info.metadata or {}, started, finished)

    def wait(self, job: str, seconds: float | None = None) -> Job:
        """Wait until a job is over, at most so long."""
        until = None if seconds is None else time.monotonic() + seconds
        while not (found := self.job(job)).over and (until is None or time.monotonic() < until):
            time.sleep(POLL_SECONDS)
        return found

    def logs(self, job: str) -> str:
        """Everything the job has printed."""
        with self._translated(job):
            return str(self._jobs.get_job_logs(job))

    def follow(self, job: str) -> Iterator[str]:
        """What the job has printed and prints, until it is over. A lost connection is taken up again where it broke off."""
        self.job(job)
        seen = 0
        loop = asyncio.new_event_loop()
        try:
            while True:
                pieces = self._jobs.tail_job_logs(job)
                skip = seen
                try:
                    while True:
                        text = loop.run_until_complete(anext(pieces))
                        fresh, skip = text[skip:], max(0, skip - len(text))
                        seen += len(fresh)
                        if fresh:
                            yield fresh
                except StopAsyncIteration:
                    return
                except self._broken:
                    if self.job(job).over:  # raises when the cluster is gone
                        rest = self.logs(job)[seen:]
                        if rest:
                            yield rest
                        return
                    time.sleep(POLL_SECONDS)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def stop(self, job: str) -> None:
        """End a job's processes: SIGTERM, then SIGKILL some seconds later."""
        with self._translated(job):
            self._jobs.stop_job(job)

    def forget(self, job: str) -> None:
        """Remove a job that is over from the cluster's list."""
        with self._translated(job):
            self._jobs.delete_job(job)

    # -- inside -----------------------------------------------------------------------------------------------------------------------
    def _asks_for_token(self) -> bool:
        try:
            answer = self._get(f"{self.url}/api/authentication_mode", timeout=CONNECT_SECONDS)
        except self._failures as error:
            raise self._unreachable(error) from None
        try:
            return bool(answer.status_code == 200 and answer.json().get("authentication_mode") == "token")
        except ValueError:  # something else listens there: the next request says so
            return False

    def _json(self, path: str) -> dict[str, Any]:
        try:
            answer = self._get(self.url + path, headers=self._headers, timeout=CONNECT_SECONDS)
        except self._failures as error:
            raise self._unreachable(error) from None
        if answer.status_code in (401, 403):
            raise self._refused()
        try:
            content = answer.json()
        except ValueError:
            content = None
        if answer.status_code != 200 or not isinstance(content, dict):
            raise ClusterError(
                f"{self.url} is no Ray dashboard (it answered {path.split('?')[0]} with status {answer.status_code}); --address takes the"
                " dashboard's address, by default port 8265 of the head node."
            )
        return content

    @contextmanager
    def _translated(self, job: str | None = None) -> Iterator[None]:
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError:
            raise self._refused() from None
        except self._failures as error:
            raise self._unreachable(error) from None
        except RuntimeError as error:
            if job is not None and "404" in str(error):
                raise ClusterError(f"The cluster at {self.url} knows no job {job!r}; `assay submit` prints the id of a job.") from None
            raise ClusterError(f"The cluster at {self.url} refused: {' '.join(str(error).split())[:500]}") from None

    def _unreachable(self, error: Exception) -> ClusterError:
        return ClusterError(
            f"No Ray dashboard answers at {self.url} ({type(error).__name__}); --address or {ADDRESS_VARIABLE} takes its address, and"
            " `kubectl port-forward` or `ssh -L 8265:localhost:8265 HEAD` makes a remote one reachable."
        )

    def _refused(self) -> ClusterError:
        if not self._token:
            return ClusterError(
                f"The Ray cluster at {self.url} asks for a token: set {TOKEN_VARIABLE}, or {TOKEN_PATH_VARIABLE} to a file that holds it"
                " (on the head node usually ~/.ray/auth_token)."
            )
        return ClusterError(
            f"The Ray cluster at {self.url} does not accept the token from {self._token_from}; it must be the one that the head node was"
            " started with (usually ~/.ray/auth_token there)."
        )


def dashboard_url(address: str | None) -> str:
    """The dashboard's URL without a slash at the end. Raises ClusterError for an address of another kind."""
    text = (address or DEFAULT_ADDRESS).strip().rstrip("/")
    if "://" not in text:
        return f"http://{text}"
    if not text.startswith(("http://", "https://")):
        raise ClusterError(f"{text} is not a dashboard's address; submission needs one such as {DEFAULT_ADDRESS}.")
    return text


def _libraries() -> tuple[Any, Any, Any]:
    """`requests`, `aiohttp` and `ray.job_submission`; raises ClusterError where the extra is missing."""
    try:
        import aiohttp
        import requests
        from ray import job_submission
    except ImportError as error:
        raise ClusterError(
            f"The package {error.name!r} is missing: clusters need the extra `cluster` (pip install 'assay-bench[cluster]')."
        ) from None
    for name in ("dashboard_sdk", "job.sdk"):  # they report each request on stderr
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    return requests, aiohttp, job_submission


def _token() -> tuple[str, str]:
    """Ray's token and where it comes from; two empty texts when there is none."""
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return token, TOKEN_VARIABLE
    named = os.environ.get(TOKEN_PATH_VARIABLE)
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text().strip(), str(path)
    except OSError as error:
        if named:
            raise ClusterError(f"The token file {path} that {TOKEN_PATH_VARIABLE} names can't be read: {error.strerror}.") from None
        return "", ""


@contextmanager
def _without_address_variables() -> Iterator[None]:
    """Ray's client prefers these variables to the address it is given."""
    names = (ADDRESS_VARIABLE, "RAY_ADDRESS")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
