"""Merges a bundle into a ledger: by trial key, nothing overwritten, idempotent, restartable after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from db import notes, recording
from db.bundle import attempts
from db.bundle.layout import FILES, check_files, path_of
from db.dictionaries import METHOD_CONFIG, TASK_CONFIG, next_id
from db.records import Environment

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.store import SqlLedger

#: Attempts per transaction: an interrupted import loses at most these, and other writers wait no longer than these take.
ATTEMPTS = 10_000
TRIALS = 50_000
#: Measurements in memory at a time.
MEASUREMENTS = 65_536


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
    return _Import(ledger, folder, manifest["files"]["attempts"]["rows"], progress).run()


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
        added = replicates = measurements = points = 0
        scalars, series = _Sorted(path_of(self.folder, "measurements")), _Sorted(path_of(self.folder, "curves"))
        done = 0
        for batch in _batches(path_of(self.folder, "attempts"), ATTEMPTS):
            last = batch.column("attempt_id")[-1].as_py()
            with recording.no_garbage_collection(), self.ledger.transaction() as connection:
                stored = attempts.store(self.backend, self.dictionaries, connection, batch)
                measurements += attempts.store_measurements(self.backend, connection, stored, scalars.until(last), self.metrics)
                points += attempts.store_curves(self.backend, connection, stored, series.until(last), self.metrics)
            added, replicates = added + stored.attempts, replicates + stored.replicates
            done += batch.num_rows
            if self.progress is not None:
                self.progress(done, self.total)
        self._audits()
        return Imported(trials, added, replicates, measurements, points)

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
        """Insert the trials that the ledger lacks; returns how many."""
        table = pa.Table.from_batches([batch])
        first = next_id(self.backend, connection, "trial")
        if first > 1:
            query = f"SELECT key FROM trial WHERE {self.backend.member('key', 'keys')}"
            have = self.backend.rows(connection, query, {"keys": self.backend.keys(table.column("trial").to_pylist())})
            if have:
                table = table.filter(pc.invert(pc.is_in(table.column("trial"), pa.array([key for (key,) in have]))))
        if not table.num_rows:
            return 0
        names = {"version": "version", "params": "params"}
        state = table.column("state").cast(pa.string())
        closed = pc.is_in(state, pa.array(["failed", "quarantined"]))
        columns = {
            "id": np.arange(first, first + table.num_rows),
            "key": table.column("trial"),
            "task_config_id": _configs(
                table, [f"task_{c}" if c in names else c for c in TASK_CONFIG], partial(self.dictionaries.task_configs, connection)
            ),
            "method_config_id": _configs(
                table, [f"method_{c}" if c in names else c for c in METHOD_CONFIG], partial(self.dictionaries.method_configs, connection)
            ),
            "seed": table.column("seed"),
            "state": pc.if_else(closed, state, "pending"),  # done follows from an attempt; a lease was another ledger's
            "attempts": np.zeros(table.num_rows, dtype=np.int64),
        }
        self.backend.insert_arrow(connection, "trial", pa.table(columns))
        return len(table)

    def _audits(self) -> None:
        rows = self._rows("audits")
        with self.ledger.transaction() as connection:
            for start in range(0, len(rows), ATTEMPTS):
                some = rows[start : start + ATTEMPTS]
                member = self.backend.member("a.key", "keys")
                query = (
                    f"SELECT a.key, a.id FROM attempt a LEFT JOIN audit x ON x.attempt_id = a.id WHERE {member} AND x.attempt_id IS NULL"
                )
                keys = self.backend.keys([row["attempt"] for row in some])
                ids: dict[str, int] = dict(self.backend.rows(connection, query, {"keys": keys}))
                columns = ("attempt_id", "condition", "verdict", "tolerance", "deviation", "metric", "at")
                new = [{**row, "attempt_id": ids[row["attempt"]], "at": self._time(row["at"])} for row in some if row["attempt"] in ids]
                self.backend.insert(connection, "audit", columns, [tuple(row[column] for column in columns) for row in new])


class _Sorted:
    """Rows of a Parquet file in the order of attempt_id, handed out in pieces: small ones, because memory that was just used is fast."""

    def __init__(self, path: Path) -> None:
        self._batches = _batches(path, MEASUREMENTS)
        self._rest = pq.read_schema(path).empty_table()

    def until(self, last: int) -> Iterator[pa.Table]:
        """The next rows whose attempt_id is at most `last`; no attempt is in two pieces."""
        while True:
            ids = self._rest.column("attempt_id").to_numpy()
            whole = int(np.searchsorted(ids, last, side="right"))
            batch = next(self._batches, None) if whole == len(ids) else None
            if batch is not None and whole:  # its first rows may belong to the last attempt seen
                whole = int(np.searchsorted(ids, ids[-1]))
            if whole:
                yield self._rest.slice(0, whole)
            self._rest = self._rest.slice(whole)
            if batch is None:
                return
            self._rest = pa.concat_tables([self._rest, pa.Table.from_batches([batch])])


def _batches(path: Path, size: int) -> Iterator[pa.RecordBatch]:
    """Each row group by itself: Arrow keeps the texts of those that it has read until the iterator ends."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield from (batch for batch in file.iter_batches(batch_size=size, row_groups=[group]) if batch.num_rows)


def _configs(table: pa.Table, columns: list[str], ids: Callable[[list[tuple[Any, ...]]], dict[Any, int]]) -> np.ndarray:
    """The ledger's id of each row's configuration, which `ids` looks up by its values in `columns`."""
    codes, first = np.zeros(table.num_rows, dtype=np.int64), np.zeros(1, dtype=np.int64)
    for column in columns:
        distinct = table.column(column).combine_chunks()
        if not pa.types.is_dictionary(distinct.type):
            distinct = distinct.dictionary_encode()
        codes = codes * len(distinct.dictionary) + distinct.indices.to_numpy()
        _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    keys = [tuple(row.values()) for row in table.select(columns).take(first).to_pylist()]
    found = ids(keys)
    return np.array([found[key] for key in keys], dtype=np.int64)[codes]
