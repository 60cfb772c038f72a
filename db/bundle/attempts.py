"""Attempts of a bundle on their way into a ledger: the rules of `Ledger.record` for thousands of them at a time, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from db import recording, summary
from db.dictionaries import next_id
from db.errors import LedgerError
from db.points import Integers, Points

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.backends.base import Backend
    from db.dictionaries import Dictionaries


@dataclass(frozen=True, slots=True)
class Stored:
    """What a batch of attempts became. `ids`: the ledger's id by (bundle id - `low`), 0 for those that it held before."""

    attempts: int
    replicates: int
    low: int
    ids: Integers
    arm: Integers  #: index into `arms` by (bundle id - `low`); -1 where no accepted result was added
    arms: list[tuple[int, int]]  #: ids of task configuration and method configuration

    def points(self, rows: pa.Table, metrics: Integers) -> tuple[Points, Integers]:
        """Measurements of the new attempts with the ledger's ids (`metrics`: the ledger's id by the bundle's), and the arm of each."""
        attempt, metric, value = (rows.column(name) for name in ("attempt_id", "metric_id", "value"))
        numbers = value.to_numpy()
        if value.null_count:
            numbers = numbers.copy()
            missing = np.flatnonzero(np.asarray(value.is_null()))
            kinds = rows.column("kind").cast(pa.string()).take(missing).to_pylist()
            numbers[missing] = [{"+inf": np.inf, "-inf": -np.inf}.get(kind, np.nan) for kind in kinds]
        at = attempt.to_numpy() - self.low
        points, new = Points(self.ids[at], metrics[metric.to_numpy()], numbers), self.ids[at] > 0
        return points.where(new), self.arm[at][new]


def store(backend: Backend, dictionaries: Dictionaries, connection: Connection, batch: pa.RecordBatch) -> Stored:
    """Insert the attempts that the ledger lacks and move their trials, without measurements. Raises LedgerError when one refers to a trial,
    run or environment that is not there."""
    bundle_ids = batch.column("attempt_id").to_numpy()
    low = int(bundle_ids[0])
    ids = np.zeros(int(bundle_ids[-1]) - low + 1, dtype=np.int64)
    arm = np.full(len(ids), -1, dtype=np.int64)
    first = next_id(backend, connection, "attempt")
    table = pa.Table.from_batches([batch])
    if first > 1:
        query = f"SELECT key FROM attempt WHERE {backend.member('key', 'keys')}"
        seen = backend.rows(connection, query, {"keys": backend.keys(table.column("attempt").to_pylist())})
        if seen:
            table = table.filter(pc.invert(pc.is_in(table.column("attempt"), pa.array([key for (key,) in seen]))))
    count = table.num_rows
    if not count:
        return Stored(0, 0, low, ids, arm, [])
    trials = _trials(backend, connection, table.column("trial"))
    at = _positions(table.column("trial"), trials.keys, "trial")
    ok = pc.equal(table.column("outcome").cast(pa.string()), "ok").to_numpy()
    # A trial's attempts one after the other: the first ok one of a trial without a result becomes it.
    order = np.argsort(at, kind="stable")
    starts = np.flatnonzero(np.r_[True, at[order][1:] != at[order][:-1]])
    sizes = np.diff(np.r_[starts, count])
    number = np.empty(count, dtype=np.int64)
    number[order] = trials.attempts[at[order]] + np.arange(count) - np.repeat(starts, sizes) + 1
    candidates = np.flatnonzero(ok & ~trials.accepted[at])
    accept = np.zeros(count, dtype=np.int64)
    accept[candidates[np.unique(at[candidates], return_index=True)[1]]] = 1
    new_ids = np.arange(first, first + count)
    _insert(backend, dictionaries, connection, table, new_ids, trials.ids[at], number, accept)
    accepted_id = np.zeros(len(trials.ids), dtype=np.int64)
    accepted_id[at[accept > 0]] = new_ids[accept > 0]
    touched, last = at[order][starts], new_ids[order[starts + sizes - 1]]
    counts = trials.attempts[touched] + sizes
    moved = accepted_id[touched] > 0
    done = _rows(counts[moved], accepted_id[touched][moved], last[moved], trials.ids[touched][moved])
    late = _rows(counts[~moved], last[~moved], trials.ids[touched][~moved])
    recording.update_trials(backend, connection, [("done", *row) for row in done], late)
    place = table.column("attempt_id").to_numpy() - low
    ids[place] = new_ids
    arms, codes = np.unique(trials.arms[at], axis=0, return_inverse=True)
    arm[place] = np.where(accept > 0, codes.ravel(), -1)
    return Stored(count, int((ok & (accept == 0)).sum()), low, ids, arm, list(map(tuple, arms.tolist())))


def _rows(*columns: Integers) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


@dataclass(frozen=True, slots=True)
class _Trials:
    """Trials of a batch, as columns. `arms` has two: ids of task and method configuration."""

    keys: pa.Array
    ids: Integers
    arms: Integers
    attempts: Integers
    accepted: np.ndarray


def _trials(backend: Backend, connection: Connection, keys: pa.ChunkedArray) -> _Trials:
    query = (
        "SELECT t.key, t.id, t.task_config_id, t.method_config_id, t.attempts, CASE WHEN t.accepted_id IS NULL THEN 0 ELSE 1 END "
        f"FROM trial t WHERE {backend.member('t.key', 'keys')} ORDER BY t.id {backend.for_update.format(table='t')}"
    )
    rows = backend.rows(connection, query, {"keys": backend.keys(keys.unique().to_pylist())})
    names = [row[0] for row in rows]
    numbers = np.array([row[1:] for row in rows], dtype=np.int64).reshape(-1, 5)
    return _Trials(pa.array(names, pa.string()), numbers[:, 0], numbers[:, 1:3], numbers[:, 3], numbers[:, 4] > 0)


def _positions(column: pa.ChunkedArray, values: pa.Array, what: str) -> Integers:
    """Where in `values` each of the column is; LedgerError names the first that is not."""
    found = pc.index_in(column.cast(pa.string()), value_set=values)
    if found.null_count:
        missing = column.filter(found.is_null())[0].as_py()
        raise LedgerError(f"The bundle's attempts refer to {what} {missing}, which it does not hold; copy it again from its source.")
    return np.asarray(found.to_numpy(), dtype=np.int64)


def _ids(column: pa.ChunkedArray, known: dict[str, int], what: str) -> pa.Array:
    """The ledger's id for each text of the column; NULL stays NULL."""
    texts = column.cast(pa.string()).combine_chunks()
    if not known:
        known = {"": 0}
    here = texts.drop_null()
    _positions(pa.chunked_array([here]), pa.array(list(known)), what)
    return pa.array(list(known.values()), pa.int64()).take(pc.index_in(texts, value_set=pa.array(list(known))))


def _insert(
    backend: Backend,
    dictionaries: Dictionaries,
    connection: Connection,
    table: pa.Table,
    ids: Integers,
    trials: Integers,
    number: Integers,
    accept: Integers,
) -> None:
    runs, environments = table.column("run"), table.column("environment")
    made = {
        "id": ids,
        "key": table.column("attempt"),
        "trial_id": trials,
        "run_id": _ids(runs, dictionaries.run_ids(connection, runs.unique().to_pylist()), "run"),
        "number": number,
        "accepted": accept,
        "started": backend.times(table.column("started")),
        "finished": backend.times(table.column("finished")),
        "environment_id": _ids(
            environments, dictionaries.environment_ids(connection, environments.unique().drop_null().to_pylist()), "environment"
        ),
        "block": table.column("block") if "block" in table.column_names else pa.nulls(len(ids), pa.int64()),
    }
    rest = {name: table.column(name) for name in recording.ATTEMPT if name not in made}
    columns = {name: made.get(name, rest.get(name)) for name in recording.ATTEMPT}
    backend.insert_arrow(connection, "attempt", pa.table(columns))
    texts = table.select(recording.ATTEMPT_TEXT[1:]).add_column(0, "attempt_id", pa.array(ids))
    lengths = [pc.binary_length(texts.column(name)) for name in recording.ATTEMPT_TEXT[1:]]
    texts = texts.filter(pc.greater(pc.add(pc.add(lengths[0], lengths[1]), lengths[2]), 0))
    if texts.num_rows:
        backend.insert_arrow(connection, "attempt_text", texts)


def store_measurements(backend: Backend, connection: Connection, stored: Stored, pieces: Iterable[pa.Table], metrics: Integers) -> int:
    """Insert the measurements of new attempts and add them to the leaderboard's totals; returns how many."""
    sizes: list[int] = []
    totals: list[summary.Cells | None] = []

    def fresh() -> Iterator[Points]:
        for rows in pieces:
            points, arm = stored.points(rows, metrics)
            if len(points):
                yield points
                sizes.append(len(points))
                totals.append(summary.collect(points, arm, stored.arms))

    backend.insert_points(connection, fresh())
    summary.add(backend, connection, summary.merged(totals))
    return sum(sizes)


def store_curves(backend: Backend, connection: Connection, stored: Stored, pieces: Iterable[pa.Table], metrics: Integers) -> int:
    """Insert the points of new attempts' series; returns how many."""
    count = 0
    for rows in pieces:
        attempt = rows.column("attempt_id").to_numpy()
        new = stored.ids[attempt - stored.low] > 0
        if not new.all():
            rows, attempt = rows.filter(pa.array(new)), attempt[new]
        if rows.num_rows:
            ids = {"attempt_id": stored.ids[attempt - stored.low], "metric_id": metrics[rows.column("metric_id").to_numpy()]}
            backend.insert_arrow(connection, "curve_point", pa.table(ids | {name: rows.column(name) for name in ("step", "value", "kind")}))
            count += rows.num_rows
    return count
