"""The files of a bundle: their columns, the SELECT that fills each, and the manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from db.errors import LedgerError

FORMAT = "assay-bundle-2"
MANIFEST = "manifest.json"

TEXT, INT, REAL, TIME = pa.string(), pa.int64(), pa.float64(), pa.timestamp("us", "UTC")
#: Few distinct values over many rows.
LABEL = pa.dictionary(pa.int32(), pa.string())

_ATTEMPT_ORDER = "ORDER BY x.attempt_id, x.metric_id"


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file: Arrow types by column, the SELECT whose columns are these, in this order, and how many rows to fetch at a time."""

    columns: dict[str, pa.DataType]
    sql: str
    piece: int = 10_000

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(list(self.columns.items()))


FILES: dict[str, File] = {
    "papers": File(
        {"paper": INT, "title": TEXT, "family": TEXT, "tier": TEXT, "benchmark": TEXT},
        "SELECT paper, title, family, tier, benchmark FROM paper ORDER BY paper",
    ),
    "tasks": File(
        {"task": TEXT, "family": TEXT, "version": INT, "label": TEXT, "doc": TEXT, "params_schema": TEXT},
        "SELECT task, family, version, label, doc, params_schema FROM task ORDER BY task",
    ),
    "methods": File(
        {
            "method": TEXT, "family": TEXT, "version": INT, "label": TEXT, "doc": TEXT, "paper": INT, "knowledge": TEXT,
            "params_schema": TEXT,
        },
        "SELECT method, family, version, label, doc, paper, knowledge, params_schema FROM method ORDER BY method",
    ),
    "metrics": File(
        {
            "metric_id": INT, "task": TEXT, "metric": TEXT, "unit": TEXT, "direction": TEXT, "doc": TEXT, "is_primary": INT, "curve": TEXT,
            "declared": INT, "low": REAL, "high": REAL,
        },
        "SELECT id, task, metric, unit, direction, doc, is_primary, curve, declared, low, high FROM metric ORDER BY id",
    ),
    "claims": File(
        {
            "claim": TEXT, "paper": INT, "family": TEXT, "statement": TEXT, "task": TEXT, "metric": TEXT, "definition": TEXT, "hash": TEXT,
            "since": TIME,
        },
        "SELECT claim, paper, family, statement, task, metric, definition, hash, since FROM claim ORDER BY claim",
    ),
    "claim_revisions": File(
        {"claim": TEXT, "hash": TEXT, "statement": TEXT, "definition": TEXT, "since": TIME, "replaced": TIME},
        "SELECT claim, hash, statement, definition, since, replaced FROM claim_revision ORDER BY id",
    ),
    "verdicts": File(
        {
            "claim": TEXT, "claim_hash": TEXT, "verdict": TEXT, "effect": REAL, "low": REAL, "high": REAL, "n": INT, "p_value": REAL,
            "test": TEXT, "detail": TEXT, "trials": TEXT, "decided": TIME,
        },
        "SELECT claim, claim_hash, verdict, effect, low, high, n, p_value, test, detail, trials, decided FROM verdict ORDER BY id",
    ),
    "environments": File({"environment": TEXT, "content": TEXT}, "SELECT hash, content FROM environment ORDER BY id"),
    "runs": File(
        {
            "run": TEXT, "suite": TEXT, "suite_text": TEXT, "engine": TEXT, "argv": TEXT, "planned": INT, "started": TIME, "finished": TIME,
            "status": TEXT, "environment": TEXT,
        },
        "SELECT r.run, r.suite, r.suite_text, r.engine, r.argv, r.planned, r.started, r.finished, r.status, e.hash "
        "FROM run r LEFT JOIN environment e ON e.id = r.environment_id ORDER BY r.id",
    ),
    "tags": File(
        {"run": TEXT, "tag": TEXT},
        "SELECT r.run, x.tag FROM run_tag x JOIN run r ON r.id = x.run_id ORDER BY x.run_id, x.tag",
    ),
    "trials": File(
        {
            "trial": TEXT, "family": LABEL, "task": LABEL, "task_version": INT, "task_params": LABEL, "method": LABEL,
            "method_version": INT,
            "method_params": LABEL, "seed": INT, "data_fingerprint": LABEL, "protocol": INT, "state": LABEL,
        },
        "SELECT t.key, c.family, c.task, c.version, c.params, m.method, m.version, m.params, t.seed, c.data_fingerprint, c.protocol, "
        "t.state "
        "FROM trial t JOIN task_config c ON c.id = t.task_config_id JOIN method_config m ON m.id = t.method_config_id ORDER BY t.id",
    ),
    "run_trials": File(
        {"run": LABEL, "trial": TEXT},
        "SELECT r.run, t.key FROM run_trial x JOIN run r ON r.id = x.run_id JOIN trial t ON t.id = x.trial_id "
        "ORDER BY x.run_id, x.trial_id",
    ),
    "attempts": File(
        {
            "attempt_id": INT, "attempt": TEXT, "trial": TEXT, "run": LABEL, "number": INT, "outcome": LABEL, "accepted": INT,
            "started": TIME, "finished": TIME, "seconds": REAL, "cpu_seconds": REAL, "worker": LABEL, "environment": LABEL, "error": TEXT,
            "info": TEXT, "traceback": TEXT, "stdout": TEXT, "stderr": TEXT, "block": INT,
        },
        "SELECT a.id, a.key, t.key, r.run, a.number, a.outcome, a.accepted, a.started, a.finished, a.seconds, a.cpu_seconds, a.worker, "
        "e.hash, a.error, a.info, coalesce(x.traceback, ''), coalesce(x.stdout, ''), coalesce(x.stderr, ''), a.block "
        "FROM attempt a JOIN trial t ON t.id = a.trial_id JOIN run r ON r.id = a.run_id LEFT JOIN environment e ON e.id = a.environment_id "
        "LEFT JOIN attempt_text x ON x.attempt_id = a.id ORDER BY a.id",
        piece=20,  # each may hold megabytes of text
    ),
    "measurements": File(
        {"attempt_id": INT, "metric_id": INT, "value": REAL, "kind": LABEL},
        f"SELECT x.attempt_id, x.metric_id, x.value, x.kind FROM measurement x {_ATTEMPT_ORDER}",
    ),
    "curves": File(
        {"attempt_id": INT, "metric_id": INT, "step": REAL, "value": REAL, "kind": LABEL},
        f"SELECT x.attempt_id, x.metric_id, x.step, x.value, x.kind FROM curve_point x {_ATTEMPT_ORDER}, x.step",
    ),
    "audits": File(
        {"attempt": TEXT, "condition": LABEL, "verdict": LABEL, "tolerance": REAL, "deviation": REAL, "metric": LABEL, "at": TIME},
        "SELECT a.key, x.condition, x.verdict, x.tolerance, x.deviation, x.metric, x.at "
        "FROM audit x JOIN attempt a ON a.id = x.attempt_id ORDER BY x.attempt_id",
    ),
    "submissions": File(
        {
            "submission": TEXT, "board": TEXT, "number": INT, "submitter": TEXT, "method": TEXT, "note": TEXT, "mechanism": TEXT,
            "displayed": REAL, "released": INT, "threshold": REAL, "budget_left": REAL, "at": TIME,
        },
        "SELECT submission, board, number, submitter, method, note, mechanism, displayed, released, threshold, budget_left, at "
        "FROM submission ORDER BY id",
    ),
    "leaderboard": File(
        {
            "family": TEXT, "task": TEXT, "task_version": INT, "task_params": TEXT, "method": TEXT, "method_version": INT,
            "method_params": TEXT, "metric": TEXT, "n": INT, "mean": REAL, "sd": REAL, "min": REAL, "max": REAL, "failed": INT,
            "nonfinite": INT, "data_fingerprint": TEXT, "protocol": INT,
        },
        "SELECT family, task, task_version, task_params, method, method_version, method_params, metric, n, mean, sd, min, max, failed, "
        "nonfinite, data_fingerprint, protocol FROM leaderboard "
        "ORDER BY task, task_params, method, method_params, metric, data_fingerprint, protocol",
    ),
}  # fmt: skip


#: What bundles of older formats lack: whole files (None) or last columns.
OLDER: dict[str, dict[str, tuple[str, ...] | None]] = {
    "assay-bundle-1": {"metrics": ("low", "high"), "attempts": ("block",), "tags": None, "audits": None, "submissions": None},
}


def columns_of(format: str) -> dict[str, list[str]] | None:
    """Columns by file of a bundle in `format`; None when this code does not know it."""
    if format != FORMAT and format not in OLDER:
        return None
    lacks = OLDER.get(format, {})
    return {
        name: [column for column in file.columns if column not in (lacks.get(name) or ())]
        for name, file in FILES.items()
        if lacks.get(name, ()) is not None
    }


def path_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest; raises LedgerError when there is none or it is not a bundle's."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        columns = columns_of(manifest["format"])
        known = columns is not None and set(manifest["files"]) == set(columns)
        known = known and all(type(file["rows"]) is int and type(file["sha256"]) is str for file in manifest["files"].values())
    except OSError as error:
        raise LedgerError(f"{folder} is not a bundle: its {MANIFEST} can't be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise LedgerError(
            f"{folder / MANIFEST} is damaged or belongs to another version of Assay (this one reads {', '.join([*OLDER, FORMAT])})."
        )
    return manifest


def check_files(folder: Path) -> dict[str, Any]:
    """The manifest, after every file was found to have its hash, its rows and the columns that this code reads; raises LedgerError naming
    the file that is missing or differs."""
    manifest = read_manifest(folder)
    columns = columns_of(manifest["format"])
    assert columns is not None
    for name, entry in manifest["files"].items():
        path = path_of(folder, name)
        if not path.is_file():
            raise LedgerError(f"The bundle {folder} lacks {path.name}; copy it again from its source.")
        found = sha256(path)
        if found != entry["sha256"]:
            raise LedgerError(
                f"{path} is damaged: its sha256 is {found[:12]}… but the manifest says {entry['sha256'][:12]}…; copy it again from its "
                "source."
            )
        try:
            found_rows, found_columns = (parquet := pq.read_metadata(path)).num_rows, parquet.schema.to_arrow_schema().names
        except (pa.ArrowException, OSError) as error:
            raise LedgerError(f"{path} can't be read as Parquet ({error}); copy the bundle again from its source.") from error
        if found_rows != entry["rows"]:
            raise LedgerError(f"{path} has {found_rows} rows, but the manifest says {entry['rows']}.")
        if found_columns != columns[name]:
            raise LedgerError(f"{path} has other columns than this version of Assay reads.")
    return manifest
