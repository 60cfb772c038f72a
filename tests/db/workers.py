"""What the processes of the concurrency tests do. Run as `python -m tests.db.workers NAME ARGUMENTS`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from db import open_ledger
from db.records import Run
from db.testing import ENVIRONMENT, attempt, trial


def claim_and_record(url: str, name: str, total: str) -> None:
    """Claim trials in small groups until none is left, and record an attempt for each; prints how many it claimed."""
    trials = {item.key: item for item in (trial(seed) for seed in range(int(total)))}
    keys = list(trials)
    start = int(name) * len(keys) // 8  # begin at different places, as coordinators with different plans would
    order = keys[start:] + keys[:start]
    claimed = 0
    with open_ledger(url, create=True) as ledger:
        ledger.start_run(Run(f"run-{name}", "suite", "", "inline", [], len(keys)), ENVIRONMENT)
        ledger.submit(f"run-{name}", list(trials.values()))
        for first in range(0, len(order), 7):
            got = ledger.claim(name, order[first : first + 7], 600)
            claimed += len(got)
            ledger.renew(name, 600)
            metrics = {"loss": 1.0, "size": 2.0, "time": 3.0}
            ledger.record([attempt(trials[key], metrics, run=f"run-{name}", number=int(name)) for key in got], [ENVIRONMENT])
    print(claimed)


def record_for_ever(url: str) -> None:
    """Record groups of 50 new trials; prints the first seed of each group once it is recorded, until somebody kills this process."""
    with open_ledger(url) as ledger:
        ledger.start_run(Run("run-1", "suite", "", "inline", [], 0), ENVIRONMENT)
        for first in range(0, 10**9, 50):
            trials = [trial(seed) for seed in range(first, first + 50)]
            ledger.submit("run-1", trials)
            ledger.record([attempt(item, {"a": 1.0, "b": 2.0, "c": 3.0}) for item in trials], [ENVIRONMENT])
            sys.stdout.write(f"{first}\n")
            sys.stdout.flush()


def hold_write_lock(url: str, seconds: str) -> None:
    """Begin a writing transaction, say so, and sit in it."""
    from db.store import SqlLedger

    ledger = open_ledger(url)
    assert isinstance(ledger, SqlLedger)
    with ledger.backend.write():
        print("holding", flush=True)
        time.sleep(float(seconds))


def export_and_watch(url: str, folder: str, name: str) -> None:
    """Export a ledger; prints as JSON, for each piece of the file `name`, the rows so far and this process's peak memory in kB."""
    from db.bundle import export_bundle
    from db.bundle.layout import FILES
    from db.store import SqlLedger

    ledger = open_ledger(url)
    assert isinstance(ledger, SqlLedger)
    stream = ledger.backend.stream
    peaks: list[tuple[int, int]] = []

    def watched(connection: Any, statement: str, size: int) -> Iterator[list[Any]]:
        count = 0
        for rows in stream(connection, statement, size):
            if statement == FILES[name].sql:
                peaks.append((count := count + len(rows), peak()))
            yield rows

    ledger.backend.stream = watched  # type: ignore[method-assign]
    export_bundle(ledger, Path(folder))
    print(json.dumps(peaks))


def peak() -> int:
    """The most memory this process has had, in kB (ru_maxrss would still hold the parent's)."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))


def export_peaks(url: str, folder: Path, name: str) -> list[tuple[int, int]]:
    """`export_and_watch` in a process of its own: (rows, kB) along the file `name`."""
    command = [sys.executable, "-m", "tests.db.workers", "export_and_watch", url, str(folder), name]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return [(rows, kilobytes) for rows, kilobytes in json.loads(done.stdout)]


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    globals()[sys.argv[1]](*sys.argv[2:])
