"""Merges a bundle into a ledger: by trial key, nothing overwritten, idempotent, restartable after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from db import notes, recording, summary
from db.bundle.layout import FILES, check_files, columns_of, path_of
from db.dictionaries import METHOD_CONFIG, TASK_CONFIG, next_id
from db.errors import LedgerError
from db.records import Attempt, Environment

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.store import SqlLedger

#: Attempts per transaction: an interrupted import loses at most these, and other writers wait no longer than these take.
ATTEMPTS = 10_000
TRIALS = 50_000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import added. `replicates`: ok attempts of trials that had an accepted result already."""

    trials: int
    attempts: int
    replicates: int
    measurements: int
    curve_points: int


def import_bundle(ledger: SqlLedger, folder: Path, progress: Callable[[int, int], None] | None = None) -> Imported:
    """Merge the bundle in `folder` into the ledger.

    Trials meet by content key. An attempt that the ledger holds is skipped; an ok attempt of a trial that has a result already is kept as a
    replicate. The ledger's own catalogue wins over the bundle's. Raises LedgerError when a file is damaged, before anything is written.
    `progress(done, total)` counts attempts.
    """
    manifest = check_files(folder)
    _refuse_other_columns(folder, manifest["format"])
    return _Import(ledger, folder, manifest["files"]["attempts"]["rows"], progress).run()


def _refuse_other_columns(folder: Path, format: str) -> None:
    for name, columns in (columns_of(format) or {}).items():
        if pq.read_schema(path_of(folder, name)).names != columns:
            raise LedgerError(f"{path_of(folder, name)} has other columns than this version of Assay reads.")


class _Import:
    def __init__(self, ledger: SqlLedger, folder: Path, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.ledger, self.folder, self.total, self.progress = ledger, folder, total, progress
        self.backend, self.dictionaries = ledger.backend, ledger.dictionaries
        self.metrics = np.zeros(1, dtype=np.int64)  #: the ledger's metric id by the bundle's

    def run(self) -> Imported:
        with self.ledger.transaction() as connection:
            self._catalogue(connection)
            self._metrics(connection)
            self._runs(connection)
        trials = self._trials()
        attempts = replicates = measurements = points = 0
        scalars, series = _Sorted(path_of(self.folder, "measurements")), _Sorted(path_of(self.folder, "curves"))
        done = 0
        for batch in _batches(path_of(self.folder, "attempts"), ATTEMPTS):
            last = batch.column("attempt_id")[-1].as_py()
            values, curves = scalars.until(last), series.until(last)
            with recording.no_garbage_collection(), self.ledger.transaction() as connection:
                added = self._attempts(connection, batch, values, curves)
            attempts, replicates = attempts + added[0], replicates + added[1]
            measurements, points = measurements + added[2], points + added[3]
            done += batch.num_rows
            if self.progress is not None:
                self.progress(done, self.total)
        self._audits()
        return Imported(trials, attempts, replicates, measurements, points)

    # -- what attempts point to -----------------------------------------------------------------------------------------------------
    def _rows(self, name: str) -> list[dict[str, Any]]:
        """Rows of a small file; what a bundle of an older format lacks is None."""
        path = path_of(self.folder, name)
        missing = dict.fromkeys(FILES[name].columns)
        return [{**missing, **row} for row in pq.read_table(path).to_pylist()] if path.exists() else []

    def _time(self, value: Any) -> Any:
        return None if value is None else self.backend.time(value)

    def _add(self, connection: Connection, table: str, key: str, rows: list[dict[str, Any]]) -> None:
        """Insert the rows whose `key` the table lacks."""
        if rows:
            have = {row[0] for row in self.backend.rows(connection, f"SELECT {key} FROM {table}")}
            new = [tuple(row.values()) for row in rows if row[key] not in have]
            self.backend.insert(connection, table, list(rows[0]), new)

    def _catalogue(self, connection: Connection) -> None:
        for name, table, key in (("papers", "paper", "paper"), ("tasks", "task", "task"), ("methods", "method", "method")):
            self._add(connection, table, key, self._rows(name))
        self._add(connection, "claim", "claim", [{**row, "since": self._time(row["since"])} for row in self._rows("claims")])
        for name, table, identity in (
            ("claim_revisions", "claim_revision", ("claim", "hash", "definition", "replaced")),
            ("verdicts", "verdict", ("claim", "claim_hash", "verdict", "trials", "decided")),
        ):
            times = [column for column in FILES[name].columns if column in ("since", "replaced", "decided")]
            rows = [{**row, **{time: self._time(row[time]) for time in times}} for row in self._rows(name)]
            have = set(self.backend.rows(connection, f"SELECT {', '.join(identity)} FROM {table}"))
            new = [row for row in rows if tuple(row[column] for column in identity) not in have]
            first = next_id(self.backend, connection, table)
            self.backend.insert(connection, table, ["id", *FILES[name].columns], [(first + i, *row.values()) for i, row in enumerate(new)])

    def _metrics(self, connection: Connection) -> None:
        rows = self._rows("metrics")
        have = {(task, metric): identity for identity, task, metric in self.backend.rows(connection, "SELECT id, task, metric FROM metric")}
        new = [row for row in rows if (row["task"], row["metric"]) not in have]
        first = next_id(self.backend, connection, "metric")
        columns = ["id", *list(FILES["metrics"].columns)[1:]]
        self.backend.insert(connection, "metric", columns, [(first + i, *list(row.values())[1:]) for i, row in enumerate(new)])
        have |= {(row["task"], row["metric"]): first + i for i, row in enumerate(new)}
        self.metrics = np.zeros(max((row["metric_id"] for row in rows), default=0) + 1, dtype=np.int64)
        for row in rows:
            self.metrics[row["metric_id"]] = have[row["task"], row["metric"]]

    def _runs(self, connection: Connection) -> None:
        import json

        environments = [Environment(row["environment"], json.loads(row["content"])) for row in self._rows("environments")]
        ids = self.dictionaries.environments(connection, environments)
        rows = []
        first = next_id(self.backend, connection, "run")
        for number, row in enumerate(self._rows("runs")):
            environment = ids.get(row.pop("environment"))
            times = {"started": self._time(row["started"]), "finished": self._time(row["finished"])}
            status = "imported" if row["status"] == "running" else row["status"]
            rows.append({"id": first + number, **row, **times, "status": status, "environment_id": environment})
        self._add(connection, "run", "run", rows)
        tags: dict[str, list[str]] = {}
        for row in self._rows("tags"):
            tags.setdefault(row["run"], []).append(row["tag"])
        for run, some in tags.items():
            notes.write_tags(connection, run, some)
        known = {row[0] for row in self.backend.rows(connection, "SELECT submission FROM submission")}
        new = [{**row, "at": self._time(row["at"])} for row in self._rows("submissions") if row["submission"] not in known]
        first = next_id(self.backend, connection, "submission")
        columns = ["id", *FILES["submissions"].columns]
        self.backend.insert(connection, "submission", columns, [(first + i, *row.values()) for i, row in enumerate(new)])

    def _trials(self) -> int:
        added = 0
        for batch in _batches(path_of(self.folder, "trials"), TRIALS):
            with recording.no_garbage_collection(), self.ledger.transaction() as connection:
                added += self._trial_batch(connection, batch)
        for batch in _batches(path_of(self.folder, "run_trials"), TRIALS):
            with self.ledger.transaction() as connection:
                runs = self.dictionaries.run_ids(connection, batch.column("run").unique().to_pylist())
                for run, run_id in runs.items():
                    keys = pc.filter(batch.column("trial"), pc.equal(batch.column("run").cast(pa.string()), run)).to_pylist()
                    link = (
                        "INSERT INTO run_trial (run_id, trial_id) SELECT CAST(:run AS bigint), id FROM trial "
                        f"WHERE {self.backend.member('key', 'keys')} ON CONFLICT DO NOTHING"
                    )
                    self.backend.rows(connection, link, {"run": run_id, "keys": self.backend.keys(keys)})
        return added

    def _trial_batch(self, connection: Connection, batch: pa.RecordBatch) -> int:
        keys = batch.column("trial").to_pylist()
        query = f"SELECT key FROM trial WHERE {self.backend.member('key', 'keys')}"
        have = {key for (key,) in self.backend.rows(connection, query, {"keys": self.backend.keys(keys)})}
        rows = [row for row in batch.to_pylist() if row["trial"] not in have]
        names = {"version": "version", "params": "params"}
        task_keys = [tuple(row[f"task_{c}" if c in names else c] for c in TASK_CONFIG) for row in rows]
        method_keys = [tuple(row[f"method_{c}" if c in names else c] for c in METHOD_CONFIG) for row in rows]
        tasks = self.dictionaries.task_configs(connection, task_keys)
        methods = self.dictionaries.method_configs(connection, method_keys)
        first = next_id(self.backend, connection, "trial")
        new = [
            # done follows from an attempt; a lease was another ledger's
            (first + i, row["trial"], tasks[task], methods[method], row["seed"], _state(row["state"]), 0)
            for i, (row, task, method) in enumerate(zip(rows, task_keys, method_keys, strict=True))
        ]
        self.backend.insert(connection, "trial", ("id", "key", "task_config_id", "method_config_id", "seed", "state", "attempts"), new)
        return len(new)

    def _audits(self) -> None:
        statement = (
            "INSERT INTO audit (attempt_id, condition, verdict, tolerance, deviation, metric, at) "
            "SELECT id, ?, ?, ?, ?, ?, ? FROM attempt WHERE key = ? ON CONFLICT (attempt_id) DO NOTHING"
        )
        columns = ("condition", "verdict", "tolerance", "deviation", "metric", "at", "attempt")
        rows = [{**row, "at": self._time(row["at"])} for row in self._rows("audits")]
        with self.ledger.transaction() as connection:
            self.backend.update(connection, statement, [tuple(row[column] for column in columns) for row in rows])

    # -- attempts -------------------------------------------------------------------------------------------------------------------
    def _attempts(self, connection: Connection, batch: pa.RecordBatch, values: pa.Table, curves: pa.Table) -> tuple[int, int, int, int]:
        rows = batch.to_pylist()
        by_key = {row["attempt"]: row for row in rows}
        attempts = recording.unseen(self.backend, connection, [_attempt(row) for row in rows])
        if not attempts:
            return 0, 0, 0, 0
        first = next_id(self.backend, connection, "attempt")
        stored = recording.store_attempts(self.backend, self.dictionaries, connection, attempts, first)
        # Bundle ids ascend within the batch, so both maps are arrays over its range.
        low = rows[0]["attempt_id"]
        ids = np.zeros(rows[-1]["attempt_id"] - low + 1, dtype=np.int64)
        arms = np.full(len(ids), -1, dtype=np.int64)
        cells: dict[tuple[int, int], int] = {}
        for number, (attempt, item) in enumerate(zip(attempts, stored, strict=True)):
            at = by_key[attempt.id]["attempt_id"] - low
            ids[at] = first + number
            if item.accepted:
                arms[at] = cells.setdefault(item.arm, len(cells))
        measured = self._points(connection, "measurement", values, ids, low)
        accepted = arms[measured.attempt - low] >= 0
        summary.add(
            self.backend,
            connection,
            summary.totals_of_columns(
                list(cells), arms[measured.attempt - low][accepted], measured.metric[accepted], measured.value[accepted]
            ),
        )
        points = self._points(connection, "curve_point", curves, ids, low)
        replicates = sum(not item.accepted and attempt.outcome == "ok" for attempt, item in zip(attempts, stored, strict=True))
        return len(attempts), replicates, len(measured.attempt), len(points.attempt)

    def _points(self, connection: Connection, table: str, rows: pa.Table, ids: np.ndarray, low: int) -> _Points:
        """Insert the rows of new attempts; returns them with the ledger's metric ids and the bundle's attempt ids."""
        attempt = rows.column("attempt_id").to_numpy()
        new = ids[attempt - low] > 0
        if not new.all():
            rows, attempt = rows.filter(pa.array(new)), attempt[new]
        metric = self.metrics[rows.column("metric_id").to_numpy()]
        columns: dict[str, pa.Array | pa.ChunkedArray] = {"attempt_id": pa.array(ids[attempt - low]), "metric_id": pa.array(metric)}
        if "step" in rows.column_names:
            columns["step"] = rows.column("step")
        columns |= {"value": rows.column("value"), "kind": rows.column("kind").cast(pa.string())}
        self.backend.insert_arrow(connection, table, pa.table(columns))
        return _Points(attempt, metric, rows.column("value").to_numpy(zero_copy_only=False))


@dataclass(frozen=True, slots=True)
class _Points:
    """Columns of equal length; `value` is nan where it is not finite."""

    attempt: np.ndarray
    metric: np.ndarray
    value: np.ndarray


class _Sorted:
    """Rows of a Parquet file in the order of attempt_id, handed out piece by piece."""

    def __init__(self, path: Path) -> None:
        self._batches = pq.ParquetFile(path).iter_batches()
        self._rest: list[pa.Table] = [pq.read_schema(path).empty_table()]

    def until(self, last: int) -> pa.Table:
        """The next rows whose attempt_id is at most `last`."""
        found = []
        while True:
            for table in self._rest:
                at = int(np.searchsorted(table.column("attempt_id").to_numpy(), last, side="right"))
                found.append(table.slice(0, at))
                if at < table.num_rows:
                    self._rest = [table.slice(at)]
                    return pa.concat_tables(found)
            batch = next(self._batches, None)
            if batch is None:
                self._rest = [found[0].slice(0, 0)]
                return pa.concat_tables(found)
            self._rest = [pa.Table.from_batches([batch])]


def _batches(path: Path, size: int) -> Iterator[pa.RecordBatch]:
    return (batch for batch in pq.ParquetFile(path).iter_batches(batch_size=size) if batch.num_rows)


def _state(state: str) -> str:
    return state if state in ("failed", "quarantined") else "pending"


def _attempt(row: dict[str, Any]) -> Attempt:
    import json

    return Attempt(
        row["attempt"], row["trial"], row["run"], row["outcome"], row["started"], row["finished"], row["seconds"], row["cpu_seconds"],
        row["worker"], row["environment"], info=json.loads(row["info"]), error=row["error"], traceback=row["traceback"],
        stdout=row["stdout"], stderr=row["stderr"], next_state="done" if row["outcome"] == "ok" else "leased", block=row.get("block"),
    )  # fmt: skip
