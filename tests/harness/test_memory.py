"""What a coordinator holds per trial, measured on real runs of two sizes in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Peak resident bytes of a process that plans and runs so many trials on worker processes.
_RUN = """
import sys
from pathlib import Path
from db import open_ledger
from db.spool import Spool
from harness.engines import make_engine
from harness.engines.base import EngineSettings
from harness.progress import Progress
from harness.scheduler import run_plan
from tests.harness.toys import start_run, toy_plan, toys

trials, folder = int(sys.argv[1]), Path(sys.argv[2])
plan = toy_plan(toys("ok", range(trials), task="noop", expect=1e-4))
with open_ledger(folder / "assay.db", create=True) as ledger, Progress(plan, "run-1") as progress:
    settings = EngineSettings(str(folder / "cache"), workers=2)
    spool = Spool(folder / "spool")
    summary = run_plan(plan, start_run(ledger), ledger, make_engine("process"), settings, spool=spool, on_event=progress.on_event)
assert summary.done == trials
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_coordinator_grows_by_less_than_2_kib_per_trial_plan_included(tmp_path):
    sizes, peaks = (10_000, 100_000), []
    for trials in sizes:
        folder = tmp_path / str(trials)
        folder.mkdir()
        command = [sys.executable, "-c", _RUN, str(trials), str(folder)]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) * 1024)
    per_trial = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    print(f"peaks {peaks[0] / 2**20:.0f} and {peaks[1] / 2**20:.0f} MiB, {per_trial:.0f} bytes per trial")
    assert per_trial < 2048
