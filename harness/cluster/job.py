"""What runs on the head node: `python -m harness.cluster.job run`, and short functions that `harness.cluster.remote` calls.

The job's folder holds code, suite and job.json (see `upload`); the ledger lies elsewhere and outlives the job.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from db.errors import LedgerError
from harness.cluster.remote import REPLY
from harness.cluster.upload import SPEC_FILE, SUITE_FILE
from harness.errors import EXIT_UNAVAILABLE, ClusterError, HarnessError

#: Of a job that runs: its process. Of a ledger on its way home: a file, until its last piece has been read.
JOBS_FOLDER = "~/.assay/jobs"
PARCELS_FOLDER = "~/.assay/parcels"

#: A parcel that is so old is removed when the next one is packed: whoever was to fetch it has gone.
PARCEL_SECONDS = 86400.0

SIGNAL_PAUSE = 0.5  #: two signals of a kind that arrive together count as one


def run() -> int:
    """Run the suite in the working folder as job.json says; returns the exit code of `assay run`."""
    spec = json.loads(Path(SPEC_FILE).read_text())
    db = expanded(spec["db"])
    if "://" not in db:
        Path(db).parent.mkdir(parents=True, exist_ok=True)
    os.environ["ASSAY_DB"] = db  # a URL may hold a password: nobody sees it in a command line
    sys.argv = ["assay", *spec["command"]]  # what a reader of the ledger or of the log should type again
    from harness.cli import main

    mark = _mark(spec["job"])
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"pid": os.getpid(), "started": _start_of(os.getpid())}))
    try:
        main(["run", SUITE_FILE, "--address", "auto", *spec["arguments"]])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_UNAVAILABLE if end.code else 0
    finally:
        with suppress(OSError):
            mark.unlink()
    return 0


def expanded(db: str) -> str:
    """`db` with the home folder of this machine in place of ~."""
    return db if "://" in db else str(Path(db).expanduser())


def status(job: str, db: str) -> dict[str, Any]:
    """The status of the job's newest run in the ledger; None before it has begun."""
    from db import open_ledger
    from harness.status import run_status

    path = expanded(db)
    if "://" not in path and not Path(path).exists():
        return {"status": None}
    with open_ledger(path, read_only=True) as ledger:
        rows = ledger.query("SELECT run FROM tags JOIN runs USING (run) WHERE tag = :tag ORDER BY started DESC LIMIT 1", {"tag": job})
        return {"status": asdict(run_status(ledger, rows.to_pylist()[0]["run"])) if len(rows) else None}


def pack(db: str) -> dict[str, Any]:
    """Export the ledger into one file; returns its name, size in bytes and sha256. The ledger may be in use."""
    from db import open_ledger
    from db.bundle import export_bundle
    from db.store import SqlLedger

    path = Path(expanded(db))
    if not path.exists():
        raise ClusterError(f"The ledger {db} does not exist on {os.uname().nodename}; --ledger names another one.")
    folder = Path(PARCELS_FOLDER).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > PARCEL_SECONDS:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    handle, name = tempfile.mkstemp(suffix=".tar", dir=folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, open_ledger(str(path)) as ledger, os.fdopen(handle, "wb") as parcel:
        assert isinstance(ledger, SqlLedger)
        export_bundle(ledger, Path(scratch) / "bundle")
        with tarfile.open(fileobj=parcel, mode="w") as archive:  # Parquet is compressed already
            archive.add(Path(scratch) / "bundle", arcname="bundle")
    with open(name, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"parcel": Path(name).name, "size": Path(name).stat().st_size, "sha256": digest}


def piece(parcel: str, start: int, size: int, read: str = "") -> dict[str, Any]:
    """`size` bytes of a parcel from `start` on, in base64. `read`: the call that brought the piece before; its log is removed."""
    _remove_log(read)
    with open(_parcel(parcel), "rb") as content:
        content.seek(start)
        return {"data": base64.b64encode(content.read(size)).decode()}


def drop(parcel: str, read: str = "") -> dict[str, Any]:
    """Remove a parcel."""
    _remove_log(read)
    _parcel(parcel).unlink(missing_ok=True)
    return {}


def drain(job: str, now: bool) -> dict[str, Any]:
    """Ask the job to stop as Ctrl-C does: it finishes what is running, or (`now`) stops at once. "asked": whether it was running."""
    try:
        found = json.loads(_mark(job).read_text())
    except FileNotFoundError:
        return {"asked": False}
    pid = int(found["pid"])
    if _start_of(pid) != found["started"]:
        return {"asked": False}
    os.kill(pid, signal.SIGTERM)  # Ray blocks SIGINT in jobs
    if now:
        time.sleep(SIGNAL_PAUSE)
        os.kill(pid, signal.SIGTERM)
    return {"asked": True}


FUNCTIONS: dict[str, Callable[..., dict[str, Any]]] = {"status": status, "pack": pack, "piece": piece, "drop": drop, "drain": drain}


def _mark(job: str) -> Path:
    return Path(JOBS_FOLDER).expanduser() / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', job)}.json"


def _parcel(name: str) -> Path:
    return Path(PARCELS_FOLDER).expanduser() / Path(name).name


def _start_of(pid: int) -> str:
    """When the process began, in the kernel's ticks: a pid alone may have been given to another process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _remove_log(job: str) -> None:
    """Remove the log of an earlier call: it lies beside our own and holds a piece of the ledger."""
    if re.fullmatch(r"assay-piece-[0-9a-f]+", job):
        with suppress(OSError):
            own = Path(os.readlink("/proc/self/fd/1"))
            (own.parent / f"job-driver-{job}.log").unlink()


def _answer(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return FUNCTIONS[function](**arguments)
    except (HarnessError, LedgerError) as error:
        return {"error": str(error)}


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run())
    print(REPLY + json.dumps(_answer(sys.argv[1], json.loads(sys.argv[2])), default=str), flush=True)
