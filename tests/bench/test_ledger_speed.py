"""How fast the ledger is, as ratios to the same work done by hand, in the same process and minute (issue 3, "done when")."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db import open_ledger
from db.bundle import export_bundle, import_bundle
from db.bundle.layout import FILES, MANIFEST, TIME, path_of, sha256
from db.records import Attempt, Trial
from db.testing import ENVIRONMENT, RUN, START, attempt, trial
from tests.db.conftest import Server
from tests.db.workers import export_peaks

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

#: Trials per commit: the recorder's group when trials take milliseconds (harness.recorder.GROUP_ATTEMPTS).
GROUP = 500


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="assay-bench-pg-"))
    server = Server(folder)
    yield server
    server.handle.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def report(name: str, **numbers: float) -> None:
    """One line per measurement, kept by `make bench`."""
    print(f"\nBENCH {name} " + " ".join(f"{key}={value:.4g}" for key, value in numbers.items()))


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


# -- recording ----------------------------------------------------------------------------------------------------------------------
def work(trials: int, metrics: int) -> tuple[list[Trial], list[Attempt]]:
    """Trials with five seeds per configuration, and one ok attempt each."""
    made: list[Trial] = []
    for arm in range(trials // 5):
        first = trial(0, bits=arm)
        made += [replace(first, seed=seed, key=f"{first.key}{seed}") for seed in range(5)]
    return made, [attempt(item, {f"m{index}": index * 1.1 + item.seed for index in range(metrics)}) for item in made]


def ours(url: str, trials: list[Trial], attempts: list[Attempt]) -> Callable[[], None]:
    ledger = open_ledger(url, create=True)
    ledger.start_run(RUN, ENVIRONMENT)

    def record() -> None:
        ledger.submit(RUN.id, trials)
        for first in range(0, len(attempts), GROUP):
            ledger.record(attempts[first : first + GROUP], [ENVIRONMENT])
        ledger.close()

    return record


def raw_rows(count: int, metrics: int, time: Any) -> tuple[list[Any], list[Any], list[Any]]:
    trials = [(i, f"demo/t|{i:050d}", 1, 1, i, "pending", None, None, 0, None, None) for i in range(1, count + 1)]
    attempts = [
        (i, f"demo/t#{i:050d}", i, 1, 1, "ok", 1, time, time, 2.0, 1.5, "worker-1", None, "", "{}", None) for i in range(1, count + 1)
    ]
    measurements = [(i, k + 1, k * 1.1, "finite") for i in range(1, count + 1) for k in range(metrics)]
    return trials, attempts, measurements


DICTIONARIES = (
    "INSERT INTO task_config VALUES (1, 'f', 't', 1, '{}', 'd', 1)",
    "INSERT INTO method_config VALUES (1, 'm', 1, '{}')",
    "INSERT INTO run VALUES (1, 'r', '', '', '', '[]', 0, '2026-01-01', NULL, 'running', NULL)",
)
METRIC = "INSERT INTO metric VALUES ({id}, 't', 'm{id}', '', 'none', '', 0, NULL, 0, NULL, NULL)"


def raw_sqlite(path: Path, count: int, metrics: int) -> Callable[[], None]:
    """The same rows in the same tables with the same commits, ids known beforehand, prepared tuples, nothing else."""
    open_ledger(path, create=True).close()
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    for statement in (*DICTIONARIES, *(METRIC.format(id=k + 1) for k in range(metrics))):
        connection.execute(statement)
    trials, attempts, measurements = raw_rows(count, metrics, "2026-11-23T12:00:00.123456+00:00")

    def record() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT INTO trial VALUES ({','.join('?' * 11)})", trials)
        connection.executemany("INSERT INTO run_trial VALUES (1, ?)", [row[:1] for row in trials])
        connection.execute("COMMIT")
        for first in range(0, count, GROUP):
            some = attempts[first : first + GROUP]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO attempt VALUES ({','.join('?' * 16)})", some)
            connection.executemany("INSERT INTO measurement VALUES (?,?,?,?)", measurements[first * metrics : (first + GROUP) * metrics])
            connection.executemany(
                "UPDATE trial SET state = 'done', attempts = 1, accepted_id = ?, last_id = ? WHERE id = ?", [row[:1] * 3 for row in some]
            )
            connection.execute("COMMIT")
        connection.close()

    return record


@pytest.mark.parametrize(("metrics", "count"), [(3, 5000), (100, 1000)])
def test_recording_on_sqlite_reaches_half_of_raw_sqlite3(tmp_path: Path, metrics: int, count: int) -> None:
    ratios = []
    for repeat in range(5):
        mine = seconds(ours(str(tmp_path / f"ours{repeat}.db"), *work(count, metrics)), time.process_time)
        raw = seconds(raw_sqlite(tmp_path / f"raw{repeat}.db", count, metrics), time.process_time)
        ratios.append(raw / mine)
        report("record-sqlite", metrics=metrics, ours_per_s=count / mine, raw_per_s=count / raw, ratio=raw / mine)
    assert median(ratios) >= 0.5


def raw_postgres(url: str, count: int, metrics: int, arrays: bool = False) -> Callable[[], None]:
    """The same by psycopg: COPY for inserts, one UPDATE per group. Measurements go one per row into a table with a primary key, as
    they would without a ledger, or with `arrays` into the ledger's own."""
    import psycopg

    open_ledger(url, create=True).close()
    connection = psycopg.connect(url)
    connection.execute(
        "CREATE TABLE number (attempt_id bigint, metric_id bigint, value double precision, kind text NOT NULL, "
        "PRIMARY KEY (attempt_id, metric_id))"
    )
    for statement in (*DICTIONARIES, *(METRIC.format(id=k + 1) for k in range(metrics))):
        connection.execute(statement)  # type: ignore[arg-type]
    connection.commit()
    trials, attempts, measurements = raw_rows(count, metrics, START)
    numbers = [(i, list(range(1, metrics + 1)), [k * 1.1 for k in range(metrics)]) for i in range(1, count + 1)]

    def copy(table: str, rows: list[Any]) -> None:
        with connection.cursor().copy(f"COPY {table} FROM STDIN") as stream:  # type: ignore[arg-type]
            for row in rows:
                stream.write_row(row)

    def record() -> None:
        copy("trial", trials)
        copy("run_trial", [(1, row[0]) for row in trials])
        connection.commit()
        for first in range(0, count, GROUP):
            some = attempts[first : first + GROUP]
            copy("attempt", some)
            if arrays:
                copy("measurement_array", numbers[first : first + GROUP])
            else:
                copy("number", measurements[first * metrics : (first + GROUP) * metrics])
            with connection.cursor() as cursor:
                cursor.executemany(
                    "UPDATE trial SET state = 'done', attempts = 1, accepted_id = %s, last_id = %s WHERE id = %s",
                    [row[:1] * 3 for row in some],
                )
            connection.commit()
        connection.close()

    return record


@pytest.mark.parametrize(("metrics", "count"), [(3, 5000), (100, 1000)])
def test_recording_on_postgresql_reaches_half_of_psycopg(postgres: Server, metrics: int, count: int) -> None:
    ratios = []
    for _ in range(5):
        mine = seconds(ours(postgres.new_database(), *work(count, metrics)))
        raw = seconds(raw_postgres(postgres.new_database(), count, metrics))
        arrays = seconds(raw_postgres(postgres.new_database(), count, metrics, arrays=True))
        ratios.append(raw / mine)
        rates = {"ours_per_s": count / mine, "raw_per_s": count / raw, "raw_arrays_per_s": count / arrays}
        report("record-postgresql", metrics=metrics, **rates, ratio=raw / mine, ratio_arrays=arrays / mine)
    assert median(ratios) >= 0.5


# -- bundles ------------------------------------------------------------------------------------------------------------------------
def make_bundle(folder: Path, arms: int, seeds: int, metrics: int, scratch: Path) -> Path:
    """A bundle with arms x seeds trials of `metrics` measurements each, written by Arrow."""
    with open_ledger(scratch / f"{folder.name}-seed.db", create=True) as ledger:
        ledger.start_run(RUN, ENVIRONMENT)
        ledger.submit(RUN.id, [trial(0)])
        ledger.record([attempt(trial(0), {f"m{index}": 1.0 for index in range(metrics)})], [ENVIRONMENT])
        export_bundle(ledger, folder)  # type: ignore[arg-type]
    count = arms * seeds
    template = {name: pq.read_table(path_of(folder, name)) for name in ("trials", "attempts", "measurements", "run_trials")}
    ids = np.arange(1, count + 1)
    keys = [f"{number:064x}" for number in ids]
    params = [f'{{"arm":{arm}}}' for arm in range(arms)]
    random = np.random.default_rng(0)
    times = pa.array([datetime.fromtimestamp(1.79e9, START.tzinfo) + timedelta(seconds=1)] * count, TIME)

    def fill(name: str, length: int, **columns: Any) -> None:
        table = template[name]
        arrays = {
            field.name: pa.repeat(table.column(field.name)[0].as_py(), length).cast(field.type)
            for field in table.schema
            if field.name not in columns
        }
        write(
            name,
            pa.table({field.name: columns.get(field.name, arrays.get(field.name)) for field in table.schema}, schema=FILES[name].schema),
        )

    def write(name: str, table: pa.Table) -> None:
        pq.write_table(table, path_of(folder, name), compression="zstd")
        manifest["files"][name] = {"rows": table.num_rows, "bytes": 0, "sha256": sha256(path_of(folder, name))}

    manifest = json.loads((folder / MANIFEST).read_text())
    arm_params = pa.DictionaryArray.from_arrays(pa.array(np.repeat(np.arange(arms), seeds).astype(np.int32)), pa.array(params))
    fill("trials", count, trial=pa.array(keys), method_params=arm_params, seed=pa.array(np.tile(np.arange(seeds), arms)))
    fill("run_trials", count, trial=pa.array(keys))
    fill("attempts", count, attempt_id=pa.array(ids), attempt=pa.array(keys), trial=pa.array(keys), started=times, finished=times)
    with pq.ParquetWriter(path_of(folder, "measurements"), FILES["measurements"].schema, compression="zstd") as writer:
        metric_ids = np.arange(1, metrics + 1)
        for first in range(0, count, 10_000):
            some = ids[first : first + 10_000]
            size = len(some) * metrics
            columns = [
                pa.array(np.repeat(some, metrics)),
                pa.array(np.tile(metric_ids, len(some))),
                pa.array(random.normal(size=size)),
                pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array(["finite"])),
            ]
            writer.write_batch(pa.record_batch(columns, schema=FILES["measurements"].schema))
    manifest["files"]["measurements"] = {"rows": count * metrics, "bytes": 0, "sha256": sha256(path_of(folder, "measurements"))}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def adbc_ingest(folder: Path, connect: Callable[[], Any], names: Sequence[str], prefix: str = "") -> None:
    """The Parquet files `names` into tables of the same names; with a prefix, into new ones without keys or checks."""
    with connect() as connection, connection.cursor() as cursor:
        for name in names:
            for number, batch in enumerate(pq.ParquetFile(path_of(folder, name)).iter_batches(100_000)):
                table = pa.Table.from_batches([batch])
                plain = pa.table(
                    {f.name: table[f.name].cast(pa.string()) if pa.types.is_dictionary(f.type) else table[f.name] for f in table.schema}
                )
                cursor.adbc_ingest(f"{prefix}{name}", plain, mode="append" if number or not prefix else "create")
            connection.commit()


BUNDLE_TABLES = ("trials", "run_trials", "attempts", "measurements")
#: What a ledger consists of (but for its totals), in an order that keeps foreign keys.
LEDGER_TABLES = ("environment", "run", "task_config", "method_config", "metric", "trial", "run_trial", "attempt")


def ledger_rows(connect: Callable[[], Any], folder: Path, tables: Sequence[str]) -> None:
    """The rows of a ledger as Parquet files, by table, ids and all."""
    folder.mkdir(exist_ok=True)
    with connect() as connection, connection.cursor() as cursor:
        for name in tables:
            cursor.execute(f"SELECT * FROM {name}")
            table = cursor.fetch_arrow_table()
            known = [index for index, field in enumerate(table.schema) if table.column(index).null_count < table.num_rows]
            pq.write_table(table.select(known), path_of(folder, name), compression="zstd")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_import_of_a_million_measurements_runs_half_as_fast_as_adbc(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> None:
    """Against ADBC alone, which makes a table per file, without a key, a check or a total; and against ADBC that fills the tables of a
    ledger, ids known beforehand, and keeps no totals."""
    folder = make_bundle(tmp_path / "million", 500, 20, 100, tmp_path)
    tables = [*LEDGER_TABLES, "measurement" if database == "sqlite" else "measurement_array"]
    same, plain = [], []
    for repeat in range(5):
        urls, connects = [], []
        for kind in ("ours", "same", "plain"):
            if database == "sqlite":
                import adbc_driver_sqlite.dbapi as adbc_sqlite

                urls.append(str(tmp_path / f"{kind}{repeat}.db"))
                connects.append(partial(adbc_sqlite.connect, urls[-1]))
            else:
                import adbc_driver_postgresql.dbapi as adbc_postgresql

                server: Server = request.getfixturevalue("postgres")
                urls.append(server.new_database())
                connects.append(partial(adbc_postgresql.connect, urls[-1]))
        for url in urls[:2]:
            open_ledger(url, create=True).close()
        with open_ledger(urls[0]) as ledger:
            mine = seconds(lambda ledger=ledger: import_bundle(ledger, folder))
            assert ledger.query("SELECT sum(n) AS n FROM leaderboard").to_pylist() == [{"n": 1_000_000}]
        if not repeat:
            ledger_rows(connects[0], tmp_path / "rows", tables)
        filled = seconds(lambda connect=connects[1]: adbc_ingest(tmp_path / "rows", connect, tables))
        with open_ledger(urls[1]) as ledger:
            assert ledger.query("SELECT count(value) AS n FROM scores").to_pylist() == [{"n": 1_000_000}]
        made = seconds(lambda connect=connects[2]: adbc_ingest(folder, connect, BUNDLE_TABLES, "plain_"))
        same.append(filled / mine)
        plain.append(made / mine)
        rates = {"ours_rows_per_s": 1e6 / mine, "adbc_same_rows_per_s": 1e6 / filled, "adbc_plain_rows_per_s": 1e6 / made}
        report(f"import-{database}", **rates, ratio_same=same[-1], ratio_plain=plain[-1])
    assert median(same) >= 0.5
    assert median(plain) >= 0.5


@pytest.mark.parametrize(("seeds", "metrics"), [(20, 100), (660, 3)])
def test_arrays_take_less_space_than_rows_and_read_in_twice_their_time(tmp_path: Path, postgres: Server, seeds: int, metrics: int) -> None:
    """A million measurements on PostgreSQL as the ledger keeps them, against a row each with a primary key, as schema 0003 did."""
    import psycopg

    url = postgres.new_database()
    with open_ledger(url, create=True) as ledger:
        import_bundle(ledger, make_bundle(tmp_path / "million", 500, seeds, metrics, tmp_path))  # type: ignore[arg-type]
    with psycopg.connect(url, autocommit=True) as connection:

        def first(sql: str) -> Any:
            return connection.execute(sql).fetchone()  # type: ignore[arg-type]

        connection.execute("CREATE TABLE number AS SELECT attempt_id, metric_id::bigint, value, kind FROM measurement")
        connection.execute("ALTER TABLE number ADD PRIMARY KEY (attempt_id, metric_id)")
        connection.execute("VACUUM (ANALYZE)")
        size = {name: first(f"SELECT pg_total_relation_size('{name}')")[0] for name in ("measurement_array", "number")}
        source = "FROM trial t JOIN {} x ON x.attempt_id = t.accepted_id JOIN metric m ON m.id = x.metric_id"
        for what, sql in (("means", "SELECT avg(value) {} GROUP BY metric"), ("nonfinite", "SELECT count(*) {} WHERE kind <> 'finite'")):
            arrays, rows = (
                median(seconds(partial(first, sql.format(source.format(name)))) for _ in range(5)) for name in ("measurement", "number")
            )
            report("read-postgresql", metrics=metrics, arrays_ms=arrays * 1e3, rows_ms=rows * 1e3, times=arrays / rows)
            assert what == "nonfinite" or arrays <= 2 * rows
    report("space-postgresql", metrics=metrics, arrays_mb=size["measurement_array"] / 1e6, rows_mb=size["number"] / 1e6)
    assert size["measurement_array"] < size["number"]


# -- ten million --------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=[1_000_000, 10_000_000], ids=["1M", "10M"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, Path]:
    """(measurements, SQLite ledger, scores as one flat Parquet file with dictionary columns)."""
    scratch = tmp_path_factory.mktemp("large")
    folder = make_bundle(scratch / "bundle", 1000, request.param // 20_000, 20, scratch)
    path = scratch / "large.db"
    with open_ledger(path, create=True) as ledger:
        import_bundle(ledger, folder)  # type: ignore[arg-type]
    trials, rows = pq.read_table(path_of(folder, "trials")), pq.read_table(path_of(folder, "measurements"))
    names = dict(enumerate(["", *pq.read_table(path_of(folder, "metrics")).column("metric").to_pylist()]))
    at = pa.array(rows["attempt_id"].to_numpy() - 1)
    columns = ("family", "task", "task_version", "task_params", "method", "method_version", "method_params", "data_fingerprint", "protocol")
    metric = pa.DictionaryArray.from_arrays(rows["metric_id"].combine_chunks().cast(pa.int32()), pa.array(list(names.values())))
    flat = pa.table({**{name: trials[name].take(at) for name in columns}, "metric": metric, "value": rows["value"]})
    pq.write_table(flat, scratch / "scores.parquet", compression="zstd")
    return request.param, path, scratch / "scores.parquet"


def test_leaderboard_answers_within_three_times_duckdb(large: tuple[int, Path, Path]) -> None:
    """By the table `summary`, which changes in the transaction that accepts an attempt."""
    import duckdb

    count, path, parquet = large
    keys = "family, task, task_version, task_params, method, method_version, method_params, metric, data_fingerprint, protocol"
    aggregate = f"SELECT {keys}, count(value), avg(value), stddev_samp(value), min(value), max(value) FROM '{parquet}' GROUP BY ALL"
    other = duckdb.connect(config={"threads": 2})
    with open_ledger(path, read_only=True) as ledger:
        board = f"SELECT {keys}, n, mean, sd, min, max FROM leaderboard"
        mine = median(seconds(lambda: ledger.query(board)) for _ in range(5))
        theirs = median(seconds(lambda: other.execute(aggregate).to_arrow_table()) for _ in range(5))
        report("leaderboard", measurements=count, ours_ms=mine * 1e3, duckdb_ms=theirs * 1e3, ratio=mine / theirs)
        assert ledger.query("SELECT sum(n) AS n, count(*) AS cells FROM leaderboard").to_pylist() == [{"n": count, "cells": 20_000}]
        assert other.execute(f"SELECT count(*) FROM ({aggregate})").fetchone() == (20_000,)
    assert mine <= 3 * theirs


def test_export_streams(large: tuple[int, Path, Path], tmp_path: Path) -> None:
    """Nine tenths of the measurements pass without the exporting process growing; ten million would be 280 MB as Arrow and gigabytes as
    Python objects."""
    count, path, _ = large
    peaks = export_peaks(str(path), tmp_path / "out", "measurements")
    tenth = next(kilobytes for rows, kilobytes in peaks if rows >= count / 10)
    report("export-memory", measurements=count, tenth_mib=tenth / 1024, whole_mib=peaks[-1][1] / 1024)
    assert peaks[-1][0] == count
    assert peaks[-1][1] - tenth < 32 * 1024


def test_listing_runs_does_not_depend_on_measurements(large: tuple[int, Path, Path]) -> None:
    _, path, _ = large
    with open_ledger(path, read_only=True) as ledger:
        listing = median(seconds(lambda: ledger.query("SELECT * FROM runs")) for _ in range(20))
    report("list-runs", measurements=large[0], ms=listing * 1e3, peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
