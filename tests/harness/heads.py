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
from contextlib import suppress
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
        """SIGTERM, then (`at_once`: at once) SIGKILL to its process group: Ray's processes are its children, and some outlive it."""
        if self.alive and not at_once:
            self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=0 if at_once else 20)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


_FAKE_HEAD = "f" * 51 + "00000"  #: the id by which Ray's fake provider knows the head node


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
        self._before_start()
        self._process = Process([*command, *start, *options, *ports, *arguments], self.environment, self.folder / "head.log")

    def _before_start(self) -> None:
        """For what must be ready when the head node starts; its addresses are chosen by then."""

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


class GrowingHead(Head):
    """A head node with Ray's autoscaler, whose new nodes are raylets on this machine (Ray's own fake provider, which Ray's tests use).
    `resources`: what a new node has; at most `most` of them. (Ray's `AutoscalingCluster` is the same with a file that its wheel lacks, and
    begins with `ray stop`, which would end every Ray here.)"""

    def __init__(self, resources: Mapping[str, float], most: int = 2, cpus: int = 0, second: bool = False) -> None:
        with tempfile.NamedTemporaryFile("w", prefix="assay-autoscaling-", suffix=".json", delete=False) as file:
            self._config = Path(file.name)
        self._resources, self._most, self._cpus = dict(resources), most, cpus
        variables = {
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _FAKE_HEAD,
            "RAY_CLOUD_INSTANCE_ID": _FAKE_HEAD,
            **({"RAY_enable_autoscaler_v2": "1"} if second else {}),
        }
        super().__init__(f"--autoscaling-config={self._config}", cpus=cpus, **variables)

    def _before_start(self) -> None:
        import ray

        provider = {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": f"{ray.util.get_node_ip_address()}:{self.gcs.rpartition(':')[2]}",
            "head_node_id": _FAKE_HEAD,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        }
        new = {"resources": {**self._resources, "object_store_memory": 80 << 20}, "node_config": {}, "max_workers": self._most}
        config = {
            "cluster_name": "growing",
            "max_workers": self._most,
            "idle_timeout_minutes": 1,
            "provider": provider,
            "available_node_types": {
                "ray.head.default": {"resources": {"CPU": self._cpus}, "node_config": {}, "max_workers": 0},
                "new": new,
            },
            "head_node_type": "ray.head.default",
            **{name: {} for name in ("auth", "docker", "file_mounts")},
            **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands")},
            **{f"{node}_{name}": [] for node in ("head", "worker") for name in ("setup_commands", "start_ray_commands")},
            "file_mounts_sync_continuously": False,
        }
        self._config.write_text(json.dumps(config))

    def close(self) -> None:
        super().close()
        self._config.unlink(missing_ok=True)


class Laptop:
    """Runs `assay` in a folder of its own; knows the cluster's address and token, and nothing else of it."""

    def __init__(self, folder: Path, head: Head | None = None, **variables: str) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "HOME": str(folder),
            "ASSAY_CACHE": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
            **({"RAY_API_SERVER_ADDRESS": f"http://{head.dashboard}", "RAY_AUTH_TOKEN": head.token} if head else {}),
            **variables,
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=self.environment)

    def suite(self, text: str) -> str:
        (self.folder / "suite.yaml").write_text(text)
        return "suite.yaml"

    def count(self, sql: str) -> str:
        return self("sql", sql, "--db", "local.db", "-f", "csv").stdout.split()[-1]
