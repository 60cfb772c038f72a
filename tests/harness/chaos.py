"""A coordinator on a real multi-node Ray (several raylets on this machine), and somebody who breaks things meanwhile.

Run as a process of its own (`python -m tests.harness.chaos KIND FOLDER`), because a process can be connected to one Ray only. The ledger
is left in FOLDER for the test to look at.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from db import open_ledger
from db.spool import Spool
from harness.engines import make_engine
from harness.engines.base import EngineSettings, Shape
from harness.progress_events import TrialFinished
from harness.scheduler import run_plan
from tests.harness.toys import start_run, toy_plan, toys

#: The object stores of kind "store", per node.
STORE_BYTES = 80 << 20


def plan_of(kind: str, folder: Path):
    """The plan of one kind of trouble; the test rebuilds it to compare keys. `folder` takes the marks that trials leave."""
    if kind == "evil":
        limited = Shape(memory=1 << 30)
        return toy_plan(
            toys("ok", range(60), shape=limited),
            toys("bad", how="leaks", shape=limited),
            toys("bad", how="segfaults", shape=limited),
            toys("bad", how="exits", shape=limited),
            toys("bad", how="hangs_stubbornly", timeout=1.0, shape=limited),
            toys("bad", how="hangs", timeout=1.0, shape=limited),
            toys("bad", how="prints", shape=limited),
            toys("bad", how="unpicklable", shape=limited),
            toys("bad", how="forks", marker=str(folder), shape=limited),
        )
    if kind == "killers_short":
        return toy_plan(toys("ok", range(60), seconds=0.3))
    if kind == "killers":
        return toy_plan(toys("ok", range(400), seconds=0.3))
    if kind == "store":  # 1.6 MB a result: it travels through the object stores
        return toy_plan(toys("ok", range(80), task="curve", seconds=0.5))
    if kind == "exclusive":
        alone = Shape(exclusive=True)
        rivals = [toys("ok", range(4), seconds=0.3, shape=alone, value=value) for value in (1.0, 2.0, 3.0)]
        return toy_plan(toys("ok", range(60), seconds=0.3), *rivals)
    return toy_plan(toys("ok", range(120), seconds=0.2))


def main(kind: str, folder: Path) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A node that stops answering is declared dead after 3 s rather than 15.
    system = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    import ray
    from ray.cluster_utils import Cluster

    if kind == "store":
        system["automatic_object_spilling_enabled"] = False  # full means full: nothing makes room on disk
    cpus = 2 if kind == "exclusive" else 1
    small = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": system, **small})
    nodes = [cluster.add_node(num_cpus=cpus, **small) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    finished: list[float] = []
    full: list[int] = []
    over = threading.Event()
    troubles: dict[str, Callable[[], None]] = {
        "node": lambda: None,
        "killers": lambda: _kill_workers(finished, over, 60),
        "killers_short": lambda: _kill_workers(finished, over, 6),
        "store": lambda: _fill_the_stores(ray, over, full),
        "evil": lambda: None,
        "exclusive": lambda: None,
    }

    def hear(event):
        if isinstance(event, TrialFinished):
            finished.append(time.monotonic())
            if kind == "node":
                _lose_a_node(cluster, nodes, len(finished))

    thread = threading.Thread(target=troubles[kind], daemon=True)
    thread.start()
    with open_ledger(str(folder / "assay.db"), create=True) as ledger:
        run = start_run(ledger)
        plan = plan_of(kind, folder)
        summary = run_plan(
            plan,
            run,
            ledger,
            make_engine("ray"),
            EngineSettings(str(folder / "cache")),
            spool=Spool(folder / "spool"),
            on_event=hear,
        )
    over.set()
    thread.join(30)
    ray.shutdown()
    cluster.shutdown()
    report: dict[str, Any] = {"done": summary.done, "failed": summary.failed, "left": summary.left, "attempts": dict(summary.attempts)}
    report["full"] = full
    print(json.dumps(report))


def _lose_a_node(cluster, nodes, finished: int) -> None:
    """Once a quarter is done one node is killed; a while later another one joins. (Ray starts nodes in the main thread only.)"""
    if finished == 30:
        cluster.remove_node(nodes[0], allow_graceful=False)
    elif finished == 60:
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)


def _kill_workers(finished: list[float], over: threading.Event, kills: int) -> None:
    """Every second one worker process of ours is killed, or the Ray actor above it."""
    while not finished and not over.is_set():
        time.sleep(0.05)
    dice = random.Random(0)
    for _ in range(kills):
        if victims := _descendants(dice.random() < 0.3):
            with suppress(ProcessLookupError):
                os.kill(dice.choice(victims), signal.SIGKILL)
        if over.wait(1.0):
            return


def _descendants(actors: bool) -> list[int]:
    """Actor processes of this coordinator's cluster, or the worker processes that their zygotes forked."""
    parents: dict[int, tuple[int, str]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parents[int(path.name)] = (int((path / "stat").read_text().rsplit(")", 1)[1].split()[1]), command)

    def ours(pid: int) -> bool:
        while pid in parents:
            if pid == os.getpid():
                return True
            pid = parents[pid][0]
        return False

    if actors:
        return [pid for pid, (_, command) in parents.items() if command.startswith("ray::Host") and ours(pid)]
    zygotes = {
        pid
        for pid, (parent, command) in parents.items()
        if "serve_forks" in command and "serve_forks" not in parents.get(parent, (0, ""))[1]
    }
    return [pid for pid, (parent, command) in parents.items() if parent in zygotes and "serve_forks" in command and ours(pid)]


def _fill_the_stores(ray, over: threading.Event, full: list[int]) -> None:
    """Keep the object store of every node full of something else. `full`: how many 4 MB objects are pinned in each."""
    import numpy as np

    @ray.remote(num_cpus=0)
    class Hoard:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def fill(self) -> int:
            with suppress(ray.exceptions.ObjectStoreFullError):
                while len(self.kept) < 4 * STORE_BYTES >> 22:
                    self.kept.append(ray.put(np.zeros(4 << 20, dtype=np.uint8)))
            return len(self.kept)

    hoards = [
        Hoard.options(label_selector={"ray.io/node-id": node["NodeID"]}).remote()  # type: ignore[attr-defined]
        for node in ray.nodes()
    ]
    while not over.is_set():
        with suppress(Exception):  # the run is over
            full[:] = ray.get([hoard.fill.remote() for hoard in hoards])
        over.wait(0.5)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
