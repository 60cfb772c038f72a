"""What the processes of the concurrency tests do. Run as `python -m tests.db.workers NAME ARGUMENTS`."""

from __future__ import annotations

import os
import sys
import time

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


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    globals()[sys.argv[1]](*sys.argv[2:])
