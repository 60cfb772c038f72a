"""Two hosts with addresses of their own (network namespaces): one is cut off for longer than Ray believes it alive, and comes back."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.heads import Head, Process
from tests.harness.test_cli import TOY_PLUGIN

#: Ray calls a node dead after some seconds of silence instead of the half minute of its defaults.
HEALTH = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "2000", "RAY_health_check_failure_threshold": "3"}
CUT_SECONDS = 25.0
HEAD_ADDRESS, WORKER_ADDRESS = "10.213.77.1", "10.213.77.2"
SUITE = f"""
name: hosts
plugins: [{TOY_PLUGIN}]
seeds: 120
tasks: [{{task: toy/single, methods: [{{method: ok, params: {{seconds: 1.0}}}}]}}]
"""


def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True)


class Hosts:
    """Two namespaces joined by a cable (a veth pair); `inside` is the command that runs another one in a namespace."""

    def __init__(self) -> None:
        mark = secrets.token_hex(2)
        self.head, self.worker = f"assay-h{mark}", f"assay-w{mark}"
        self._cable = f"ash{mark}"

    def up(self) -> str:
        """Make them; returns what is not permitted, or nothing."""
        steps = [
            ("netns", "add", self.head),
            ("netns", "add", self.worker),
            ("link", "add", self._cable, "netns", self.head, "type", "veth", "peer", "name", "eth0", "netns", self.worker),
            ("-n", self.head, "link", "set", self._cable, "name", "eth0"),
        ]
        for name, address in ((self.head, HEAD_ADDRESS), (self.worker, WORKER_ADDRESS)):
            steps += [
                ("-n", name, "address", "add", f"{address}/24", "dev", "eth0"),
                ("-n", name, "link", "set", "lo", "up"),
                ("-n", name, "link", "set", "eth0", "up"),
            ]
        for step in steps:
            if (done := ip(*step)).returncode != 0:
                self.down()
                return f"ip {' '.join(step)}: {done.stderr.strip()}"
        return ""

    def plug(self, state: str) -> None:
        """Pull the worker's cable ("down") or put it back ("up")."""
        assert ip("-n", self.worker, "link", "set", "eth0", state).returncode == 0

    def inside(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", name]

    def down(self) -> None:
        for name in (self.head, self.worker):
            ip("netns", "delete", name)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if shutil.which("ip") is None:
        pytest.skip("ip (iproute2) is not installed")
    pair = Hosts()
    if refused := pair.up():
        pytest.skip(f"network namespaces are not permitted here ({refused})")
    yield pair
    pair.down()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_host_that_is_cut_off_and_comes_back_costs_no_trial_and_doubles_none(hosts: Hosts, tmp_path: Path) -> None:
    head = Head(f"--node-ip-address={HEAD_ADDRESS}", cpus=1, command=hosts.inside(hosts.head), host=HEAD_ADDRESS, **HEALTH)
    # the worker rejoins when the link is back: Ray ends a raylet that it has declared dead, and a cluster's manager starts another
    rejoin = f"while :; do {Path(sys.executable).parent / 'ray'} start --address={head.gcs} --node-ip-address={WORKER_ADDRESS} --num-cpus=2"
    rejoin += f" --object-store-memory=100000000 --temp-dir={head.folder} --block; sleep 1; done"
    environment = {**head.environment, "HOME": str(head.home)}
    coordinator: Process | None = None
    worker: Process | None = None
    try:
        wait_for(lambda: nodes(head, hosts) >= 1, 120)
        worker = Process([*hosts.inside(hosts.worker), "bash", "-c", rejoin], environment, tmp_path / "worker.log")
        wait_for(lambda: nodes(head, hosts) >= 2, 120)
        (tmp_path / "suite.yaml").write_text(SUITE)
        root = str(Path(__file__).parents[2])
        run = [sys.executable, "-m", "harness.cli", "run", "suite.yaml", "--address", head.gcs, "--db", "assay.db"]
        variables = {**environment, "PYTHONPATH": root, "ASSAY_CACHE": str(tmp_path / "cache")}
        inner = ["bash", "-c", 'cd "$0" && exec "$@"', str(tmp_path), *run]
        coordinator = Process([*hosts.inside(hosts.head), *inner], variables, tmp_path / "run.log")
        wait_for(lambda: done(tmp_path) >= 12, 180)
        before = done(tmp_path)
        hosts.plug("down")
        time.sleep(CUT_SECONDS)
        alive_while_cut = nodes(head, hosts)
        during = done(tmp_path)
        hosts.plug("up")
        wait_for(lambda: not coordinator.alive, 400)
        log = (tmp_path / "run.log").read_text()
        assert "120 of 120 trials done" in log, log[-3000:]
        assert alive_while_cut == 1, "Ray never noticed that the host was gone"
        assert 12 <= before <= during < 120, (before, during)
        with sqlite3.connect(tmp_path / "assay.db") as ledger:
            accepted = ledger.execute("SELECT COUNT(*), COUNT(DISTINCT trial) FROM attempts WHERE accepted = 1").fetchone()
            outcomes = dict(ledger.execute("SELECT outcome, COUNT(*) FROM attempts GROUP BY outcome").fetchall())
            machines = ledger.execute("SELECT COUNT(DISTINCT worker) FROM attempts").fetchone()[0]
        print(json.dumps({"before": before, "during": during, "outcomes": outcomes, "workers": machines}))
        assert accepted == (120, 120)
    finally:
        for process in (coordinator, worker):
            if process is not None:
                process.end(at_once=process is worker)
        head.close()


def nodes(head: Head, hosts: Hosts) -> int:
    """How many nodes the head believes alive, asked from inside its namespace."""
    ask = ["curl", "-s", "-m", "5", "-H", f"Authorization: Bearer {head.token}", f"http://{head.dashboard}/api/v0/nodes"]
    said = subprocess.run([*hosts.inside(hosts.head), *ask], capture_output=True, text=True).stdout
    try:
        return sum(node["state"] == "ALIVE" for node in json.loads(said)["data"]["result"]["result"])
    except (ValueError, KeyError, TypeError):
        return 0


def done(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder / 'assay.db'}?mode=ro", uri=True) as ledger:
            return int(ledger.execute("SELECT COUNT(*) FROM trials WHERE state = 'done'").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet
        return 0


def wait_for(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.5)
