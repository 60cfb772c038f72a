"""Whatever is killed meanwhile: every trial has one accepted result or a named failure, and the innocent are all ok."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from db import open_ledger
from tests.harness.chaos import STORE_BYTES, plan_of

ROOT = Path(__file__).parents[2]


def run_chaos(kind: str, folder: Path, timeout: float) -> dict:
    command = [sys.executable, "-m", "tests.harness.chaos", kind, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def check_ledger(kind: str, folder: Path) -> dict[str, dict]:
    """One row per trial of the plan, by method parameters; each done trial has exactly one accepted attempt."""
    plan = plan_of(kind, folder)
    with open_ledger(folder / "assay.db") as ledger:
        rows = ledger.query("SELECT trial, method, method_params, state, outcome, attempt, error FROM trials").to_pylist()
        accepted = ledger.query("SELECT trial, COUNT(*) AS n FROM attempts WHERE accepted = 1 GROUP BY trial").to_pylist()
    assert {row["trial"] for row in rows} == {trial.key for trial in plan.trials}
    assert {row["n"] for row in accepted} == {1}
    assert {row["trial"] for row in accepted} == {row["trial"] for row in rows if row["state"] == "done"}
    for row in rows:
        if row["method"] == "toy/ok":
            assert row["state"] == "done", row
        else:
            assert row["state"] in ("done", "failed", "quarantined"), row
            assert row["error"] or row["state"] == "done", row
    return {json.loads(row["method_params"])["how"]: row for row in rows if row["method"] == "toy/bad"}


@pytest.mark.timeout(280)
def test_a_node_is_lost_and_another_joins(tmp_path):
    summary = run_chaos("node", tmp_path, 270)
    assert (summary["done"], summary["failed"], summary["left"]) == (120, 0, 0)
    check_ledger("node", tmp_path)


@pytest.mark.timeout(280)
def test_workers_and_actors_are_killed_at_random(tmp_path):
    summary = run_chaos("killers_short", tmp_path, 270)
    assert (summary["done"], summary["failed"], summary["left"]) == (60, 0, 0)
    check_ledger("killers_short", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_is_killed_every_second_for_a_minute(tmp_path):
    summary = run_chaos("killers", tmp_path, 590)
    assert (summary["done"], summary["failed"], summary["left"]) == (400, 0, 0)
    assert summary["attempts"]["worker_lost"] > 5
    check_ledger("killers", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_object_store_is_full(tmp_path):
    """More is pinned in each store than it holds, nothing is spilled, and every result (1.6 MB) has to travel through the stores."""
    summary = run_chaos("store", tmp_path, 590)
    assert all(objects > STORE_BYTES >> 22 for objects in summary["full"]), summary["full"]
    assert len(summary["full"]) == 3
    assert (summary["done"], summary["failed"], summary["left"]) == (80, 0, 0)
    check_ledger("store", tmp_path)
    with open_ledger(tmp_path / "assay.db") as ledger:
        assert ledger.query("SELECT COUNT(*) AS n FROM curves").to_pylist() == [{"n": 80 * 100_000}]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_way_to_misbehave_at_once(tmp_path):
    run_chaos("evil", tmp_path, 590)
    evil = check_ledger("evil", tmp_path)
    assert {how: (row["outcome"], row["state"]) for how, row in evil.items()} == {
        "leaks": ("oom", "failed"),
        "segfaults": ("worker_lost", "quarantined"),
        "exits": ("worker_lost", "quarantined"),
        "hangs_stubbornly": ("timeout", "failed"),
        "hangs": ("timeout", "failed"),
        "prints": ("ok", "done"),
        "unpicklable": ("invalid", "failed"),
        "forks": ("ok", "done"),
    }
    assert not Path("/proc", (tmp_path / "child").read_text()).exists(), "what a trial started does not outlive the run"


@pytest.mark.timeout(280)
def test_exclusive_trials_have_a_node_to_themselves_while_others_work(tmp_path):
    """Two nodes with two processors each: beside an exclusive trial at most the two of the other node may be busy."""
    summary = run_chaos("exclusive", tmp_path, 270)
    assert (summary["done"], summary["failed"], summary["left"]) == (72, 0, 0)
    check_ledger("exclusive", tmp_path)
    with open_ledger(tmp_path / "assay.db") as ledger:
        rows = ledger.query("SELECT started, seconds, block FROM attempts ORDER BY started").to_pylist()
    spans = [(start := datetime.fromisoformat(row["started"]).timestamp(), start + row["seconds"], row["block"]) for row in rows]
    alone = [span for span in spans if span[2] is not None]
    shared = [span for span in spans if span[2] is None]
    assert [block for _, _, block in alone] == [number for number in range(1, 5) for _ in range(3)]
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(alone))

    def beside(span) -> int:
        """Most shared trials that executed at the same time during `span`."""
        inside = [other for other in shared if other[0] < span[1] and other[1] > span[0]]
        return max((sum(a[0] <= b[0] < a[1] for a in inside) for b in inside), default=0)

    assert max(map(beside, alone)) <= 2
    assert any(map(beside, alone)), "the other node went on working"
    assert max(map(beside, shared)) > 2, "before or after, both nodes worked"


_COORDINATOR = """
import sys
from pathlib import Path
from tests.harness.test_scheduler import Bench
from tests.harness.toys import toy_plan, toys
bench = Bench(Path(sys.argv[1]), "process")
bench.runs = int(sys.argv[2]) * 10
summary = bench.run(toy_plan(toys("ok", range(300), seconds=0.02)))
print(summary.done, summary.failed, summary.left, summary.attempts.get("ok", 0))
"""


def test_two_coordinators_share_one_ledger(tmp_path):
    open_ledger(tmp_path / "assay.db", create=True).close()
    outputs: list[str] = []

    def coordinate(number: int) -> None:
        command = [sys.executable, "-c", _COORDINATOR, str(tmp_path), str(number)]
        outputs.append(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True).stdout)

    threads = [threading.Thread(target=coordinate, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    results = [list(map(int, output.split())) for output in outputs]
    assert [result[:3] for result in results] == [[300, 0, 0]] * 2
    assert sum(result[3] for result in results) == 300
    with open_ledger(tmp_path / "assay.db") as ledger:
        assert ledger.query("SELECT COUNT(*) AS n FROM attempts").to_pylist() == [{"n": 300}]
