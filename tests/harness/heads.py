"""Ray heads for tests: a cluster of its own, with token authentication, a dashboard, a home folder and ports of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A process in a session of its own, ended by its pid."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=output, start_new_session=True)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self, at_once: bool = False) -> None:
        """SIGTERM, then (`at_once`: at once) SIGKILL to its process group: Ray's processes are its children."""
        if self.alive and not at_once:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=0 if at_once else 20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Head:
    """A running head node. `command` goes before `ray start` (to run it in a network namespace), `arguments` after it."""

    def __init__(self, *arguments: str, cpus: int = 2, command: Sequence[str] = (), host: str = "127.0.0.1", **variables: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="assay-ray-", dir="/tmp"))  # short: Ray's sockets lie below it
        self.home = self.folder / "home"
        self.home.mkdir()
        self.token = secrets.token_hex(16)
        self.gcs = f"{host}:{free_port()}"
        self.dashboard = f"{host}:{free_port()}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "HOME": str(self.home),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            **variables,
        }
        ray = str(Path(sys.executable).parent / "ray")
        ports = [f"--{name}={free_port()}" for name in ("ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")]
        start = [ray, "start", "--head", "--block", f"--port={self.gcs.split(':')[1]}", f"--temp-dir={self.folder}", f"--num-cpus={cpus}"]
        options = [f"--dashboard-host={host}", f"--dashboard-port={self.dashboard.split(':')[1]}", "--object-store-memory=100000000"]
        self._process = Process([*command, *start, *options, *ports, *arguments], self.environment, self.folder / "head.log")

    def wait(self, nodes: int = 1, seconds: float = 180.0) -> None:
        """Until the dashboard answers and so many nodes are alive."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.alive:
            try:
                if len(self.nodes()) >= nodes:
                    return
            except (OSError, ValueError, KeyError, TypeError):
                pass
            time.sleep(0.5)
        self.close()
        raise TimeoutError(f"no Ray head with {nodes} nodes at {self.dashboard}:\n{self._process.log.read_text()[-3000:]}")

    def nodes(self) -> list[dict[str, Any]]:
        request = urllib.request.Request(f"http://{self.dashboard}/api/v0/nodes", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)["data"]["result"]["result"]
        return [node for node in found if node["state"] == "ALIVE"]

    def close(self) -> None:
        self._process.end()
        shutil.rmtree(self.folder, ignore_errors=True)
