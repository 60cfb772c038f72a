"""From nothing to the first result, against what Ray alone needs to have two actors up: ratio in the same run, medians, fresh processes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]

_RAY = """
import json, os, sys, time
began = time.perf_counter()
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
@ray.remote(num_cpus=1)
class Actor:
    def ping(self): return 1
ray.get([actor.ping.remote() for actor in [Actor.remote(), Actor.remote()]])
print(json.dumps(time.perf_counter() - began))
"""

_ASSAY = """
import json, sys, time
began = time.perf_counter()
from pathlib import Path
from db import open_ledger
from db.spool import Spool
from harness.engines import make_engine
from harness.engines.base import EngineSettings
from harness.progress_events import TrialFinished
from harness.scheduler import run_plan
from tests.harness.toys import start_run, toy_plan, toys
folder = Path(sys.argv[1])
first = []
hear = lambda event: first.append(time.perf_counter()) if isinstance(event, TrialFinished) else None
with open_ledger(folder / "assay.db", create=True) as ledger:
    settings = EngineSettings(str(folder / "cache"), workers=2)
    plan = toy_plan(toys("ok", range(4)))
    run_plan(plan, start_run(ledger), ledger, make_engine("ray"), settings, spool=Spool(folder / "spool"), on_event=hear)
print(json.dumps(first[0] - began))
"""


def seconds(code: str, *arguments: str) -> float:
    command = [sys.executable, "-c", code, *arguments]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True).stdout
    return float(json.loads(output.strip().splitlines()[-1]))


def test_first_result_against_ray_itself(tmp_path):
    ratios = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        peer, mine = seconds(_RAY), seconds(_ASSAY, str(folder))
        ratios.append(mine / peer)
        print(f"round {number}: assay {mine:.2f} s, Ray alone {peer:.2f} s, ratio {mine / peer:.2f}")
    assert statistics.median(ratios) <= 1.3
