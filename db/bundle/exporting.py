"""Streams a consistent snapshot of a ledger into a bundle; memory stays bounded however many rows there are."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from db.bundle.layout import FILES, FORMAT, LABEL, MANIFEST, TEXT, TIME, File, path_of, sha256
from db.errors import LedgerError, LedgerUnavailable
from db.revisions import HEAD

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.backends.base import Backend
    from db.store import SqlLedger

#: Rows and bytes (as Arrow) per row group of Parquet, whichever is reached first: what an export holds in memory.
GROUP_ROWS = 100_000
GROUP_BYTES = 16 * 2**20


def export_bundle(ledger: SqlLedger, folder: Path) -> dict[str, int]:
    """Write the whole ledger to `folder`, which must not exist or be empty; returns rows by file.

    The files are built beside it (in it, when it exists: it may be a mount point or somebody's working folder) and appear under their final
    names only when the bundle is complete, the manifest last. Runs may go on: all files show one moment.
    """
    exists = folder.exists()
    if exists and (not folder.is_dir() or any(folder.iterdir())):
        raise LedgerError(f"{folder} exists already and is not empty; export to another folder.")
    partial = f".{folder.name}.{os.getpid()}.partial"
    draft = folder / partial if exists else folder.with_name(partial)
    try:
        draft.mkdir(parents=True)
        with ledger.backend.read() as connection:
            rows = {name: _write(ledger.backend, connection, file, path_of(draft, name)) for name, file in FILES.items()}
        manifest = {
            "format": FORMAT,
            "schema": HEAD,
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": {name: _entry(path_of(draft, name), rows[name]) for name in FILES},
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        if exists:
            for name in (*(path_of(draft, name).name for name in FILES), MANIFEST):
                os.replace(draft / name, folder / name)
        else:
            os.replace(draft, folder)
    except OSError as error:
        raise LedgerUnavailable(f"The bundle {folder} can't be written: {error}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return rows


def _entry(path: Path, rows: int) -> dict[str, Any]:
    return {"rows": rows, "bytes": path.stat().st_size, "sha256": sha256(path)}


def _write(backend: Backend, connection: Connection, file: File, path: Path) -> int:
    count = 0
    # Parquet keeps the least and the greatest value of each column and row group to the end: of long texts, megabytes.
    described = [name for name, kind in file.columns.items() if kind != TEXT]
    with pq.ParquetWriter(path, file.schema, compression="zstd", write_statistics=described) as writer:
        for group in _groups(_pieces(backend, connection, file)):
            # Pieces have dictionaries of their own; Parquet would keep only the first of a row group.
            writer.write_table(group.unify_dictionaries(), row_group_size=GROUP_ROWS)
            count += group.num_rows
    return count


def _pieces(backend: Backend, connection: Connection, file: File) -> Iterator[pa.RecordBatch]:
    for rows in backend.stream(connection, file.sql, file.piece):
        columns = zip(*rows, strict=True)
        arrays = [_array(column, kind) for column, kind in zip(columns, file.columns.values(), strict=True)]
        yield pa.record_batch(arrays, schema=file.schema)


def _groups(pieces: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The pieces together, up to the size of a row group."""
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for piece in pieces:
        group.append(piece)
        rows, size = rows + piece.num_rows, size + piece.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield pa.Table.from_batches(group)
            group, rows, size = [], 0, 0
    if group:
        yield pa.Table.from_batches(group)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == LABEL:
        return pa.array(values, pa.string()).dictionary_encode()
    if kind == TIME and any(isinstance(value, str) for value in values):
        return pa.array(values, pa.string()).cast(TIME)
    return pa.array(values, kind)
