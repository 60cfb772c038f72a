"""Clusters that grow: what no node carries yet is asked for, what none can ever carry is refused, and idle workers let nodes go."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines import demand, pools
from harness.engines.base import Call, CallEnded, EngineSettings, Shape
from harness.engines.demand import BUSY_SECONDS, Demand
from harness.engines.fit import refusal
from harness.engines.growth import _managed, _types_of
from harness.engines.ray import RayEngine
from harness.testing import trial_unit
from tests.harness.heads import GrowingHead, Laptop
from tests.harness.toys import PLUGIN

TOYS = Path(__file__).with_name("toy_plugin.py")
ROOT = Path(__file__).parents[2]
TYPES = [[{"CPU": 4.0}, 3], [{"CPU": 8.0, "GPU": 1.0}, 2], [{"CPU": 64.0}, 0]]


class Coordinator:
    """Runs in a process of its own, because a process can be connected to one Ray only."""

    def __init__(self, head: GrowingHead, folder: Path) -> None:
        self.head, self.folder = head, folder
        self.environment = {**head.environment, "PYTHONPATH": str(ROOT), "ASSAY_CACHE": str(folder / "cache")}

    def run(self, *arguments: str, seeds: int, seconds: float, resources: str) -> tuple[int, list[dict], str]:
        """Exit code, events and messages of `assay run --json`."""
        method = f"{{method: ok, params: {{seconds: {seconds}}}}}"
        suite = (
            f"name: grow\nplugins: [{TOYS}]\nseeds: {seeds}\nresources: {resources}\ntasks: [{{task: toy/single, methods: [{method}]}}]\n"
        )
        (self.folder / "suite.yaml").write_text(suite)
        command = [sys.executable, "-m", "harness.cli", "run", "suite.yaml", "--address", self.head.gcs, "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=self.environment, timeout=200)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module", params=[False, True], ids=["autoscaler-1", "autoscaler-2"])
def head(request: pytest.FixtureRequest) -> Iterator[GrowingHead]:
    growing = GrowingHead({"CPU": 1, "special": 1}, second=request.param)
    growing.wait()
    yield growing
    growing.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_shape_that_no_node_carries_yet_is_asked_for_and_a_busy_cluster_grows(head: GrowingHead, tmp_path: Path) -> None:
    coordinator = Coordinator(head, tmp_path)
    code, events, said = coordinator.run(seeds=45, seconds=1.0, resources="{cpus: 1, custom: {special: 1}}")
    assert code == 0, said
    assert events[-1] == {"event": "summary", "planned": 45, "done": 45, "failed": 0, "left": 0}
    working = [event for event in events if event["event"] == "working"]
    assert "waiting for nodes with 1 CPU, 1 special" in {event["engine_waits"] for event in working}
    assert max(event["workers"] for event in working) == 2, "all workers were busy, and the cluster may have two nodes"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_shape_that_no_type_of_node_carries_is_refused_before_anything_starts(head: GrowingHead, tmp_path: Path) -> None:
    code, events, said = Coordinator(head, tmp_path).run(seeds=2, seconds=0.0, resources="{cpus: 3}")
    assert code == 3
    assert "No node of the Ray cluster can carry a worker with 3 CPU" in said
    assert "nor can any that its autoscaler may start (they have: 1 CPU); lower `resources`" in said
    assert [event["event"] for event in events] == ["run_started"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_submission_is_refused_only_for_what_no_type_of_node_carries(head: GrowingHead, tmp_path: Path) -> None:
    laptop = Laptop(tmp_path, head)
    suite = "name: grow\nplugins: [{}]\nseeds: 1\nresources: {}\ntasks: [{{task: toy/single, methods: [ok]}}]\n"
    refused = laptop("submit", laptop.suite(suite.format(TOYS, "{cpus: 3}")))
    assert "nor can any that its autoscaler may start (they have: 1 CPU); lower `resources`" in refused.stderr, refused
    taken = laptop("submit", laptop.suite(suite.format(TOYS, "{cpus: 1, custom: {special: 1}}")), "-f")
    assert taken.returncode == 0, taken
    assert "1 of 1 trials done" in taken.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_where_the_types_are_not_known_the_autoscaler_is_asked(head: GrowingHead, tmp_path: Path) -> None:
    """As on Kubernetes, where no file on the head node names them: version 2 says what it can't do, version 1 keeps silent."""
    if "RAY_enable_autoscaler_v2" not in head.environment:
        pytest.skip("version 1 does not say what it can't do")
    script = """
import sys
from harness.engines import demand, growth, make_engine
from harness.engines.base import Call, EngineSettings, Shape
from tests.harness.toys import PLUGIN
from harness.testing import trial_unit
growth._configured = lambda address: None
demand.Demand._ask_head = lambda self: None
engine = make_engine("ray")
shape = Shape(cpus=3)
try:
    engine.start(EngineSettings("cache", address=sys.argv[1]), [shape])
    engine.submit(Call(1, (trial_unit("ok"),), shape, (PLUGIN,)))
    while True:
        engine.poll(0.2)
finally:
    engine.stop()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, head.gcs],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=Coordinator(head, tmp_path).environment,
        timeout=100,
    )
    assert "EngineError: No node of the Ray cluster can carry a worker with 3 CPU" in done.stderr, done.stderr[-2000:]
    assert "nor can any that its autoscaler may start" in done.stderr


@pytest.mark.parametrize("grows", [True, False])
def test_idle_workers_are_ended_where_their_nodes_could_go_and_come_back_when_there_is_work(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grows: bool
) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 1.0)
    engine = RayEngine()
    try:
        engine.start(EngineSettings(str(tmp_path / "cache"), workers=2), [Shape()])
        assert engine._pools is not None
        monkeypatch.setattr(engine._pools._demand, "_found", {"grows": grows, "types": [[{"CPU": 2.0}, 1]]})

        def run(number: int, seconds: float) -> None:
            engine.submit(Call(number, (trial_unit("ok", (number,), seconds=seconds),), plugins=(PLUGIN,), seconds=60.0))

        def until(done: int, workers: int) -> list[CallEnded]:
            ended: list[CallEnded] = []
            deadline = time.monotonic() + 60
            while len(ended) < done or engine.usage().workers != workers:
                assert time.monotonic() < deadline, (ended, engine.usage())
                ended += [event for event in engine.poll(0.1) if isinstance(event, CallEnded)]
            return ended

        until(0, 2)
        run(1, 6.0)
        if grows:
            assert not until(0, 1), "the idle one is ended, the busy one is not"
            assert [end.lost for end in until(1, 0)] == [None]
        else:
            for _ in range(30):
                engine.poll(0.1)
            until(1, 2)
        run(2, 0.0)
        assert [end.lost for end in until(1, 0 if grows else 2)] == [None]
    finally:
        engine.stop()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Demand:
    asked = Demand(None)
    monkeypatch.setattr(asked, "_found", {"grows": True, "types": TYPES})
    return asked


def test_only_types_of_which_a_node_may_be_started_count(known: Demand) -> None:
    assert known.can_carry(Shape(cpus=8, gpus=1))
    assert not known.can_carry(Shape(cpus=64))
    assert not known.can_carry(Shape(gpus=2))


def test_one_more_is_asked_for_where_none_fits_and_as_many_again_after_a_busy_while(known: Demand, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(demand.time, "monotonic", lambda: clock[0])
    four = Shape(cpus=4)
    assert known.extra(four, 0) == 1
    known.busy(four, 3)
    assert known.extra(four, 3) == 0
    clock[0] += BUSY_SECONDS
    assert known.extra(four, 3) == 3
    known.busy(four, 6)  # nodes have come: these must be busy for a while first
    assert known.extra(four, 6) == 0
    clock[0] += BUSY_SECONDS
    assert known.extra(four, 6) == 6
    known.idle(four)
    assert known.extra(four, 6) == 0
    known.busy(Shape(gpus=1), 2)
    clock[0] += BUSY_SECONDS
    assert known.extra(Shape(gpus=1), 2) == 2
    assert known.extra(Shape(gpus=2), 0) == 0
    alone = Shape(cpus=4, exclusive=True)
    known.busy(alone, 3)
    clock[0] += BUSY_SECONDS
    assert known.extra(alone, 3) == 0, "there is one such worker at a time"


def test_a_cluster_without_autoscaler_does_not_grow() -> None:
    unmanaged = {"autoscaler_report": {"active_nodes": {f"node_{'a1' * 28}": 1}}}
    assert not _managed(json.dumps(unmanaged).encode())
    assert not _managed(None)
    assert _managed(b'{"autoscaler_report": {"active_nodes": {"ray.head.default": 1}}}')
    assert _managed(b'{"autoscaler_report": {"active_nodes": {}, "pending_nodes": [["10.0.0.1", "gpu", "launching"]]}}')


def test_the_types_of_a_configuration_file_are_read_and_the_head_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(
        "max_workers: 4\nhead_node_type: head\navailable_node_types:\n  head: {resources: {CPU: 2}}\n"
        "  small: {resources: {CPU: 4}, max_workers: 9}\n  large: {resources: {CPU: 64}}\n"
    )
    assert _types_of(tmp_path / "cluster.yaml") == [[{"CPU": 2}, 0], [{"CPU": 4}, 4], [{"CPU": 64}, 4]]


def test_the_sentence_names_what_nodes_have_and_what_may_come() -> None:
    said = refusal(Shape(cpus=64), [{"CPU": 2.0}, {"CPU": 2.0}], [{"CPU": 4.0}, {"CPU": 8.0}])
    assert said == (
        "No node of the Ray cluster can carry a worker with 64 CPU (the nodes have: 2 CPU), nor can any that its autoscaler may start"
        " (they have: 4 CPU; 8 CPU); lower `resources` in the suite."
    )
