"""Checks a bundle with nothing but the bundle: hashes, references, and the leaderboard recomputed from the measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from db.bundle.layout import check_files, path_of
from db.errors import LedgerError
from db.summary import HUGE

#: Difference of mean and sd that other orders of summation explain, relative to the largest value that went in.
TOLERANCE = 1e-9
CELL = ("family", "task", "task_version", "task_params", "method", "method_version", "method_params", "data_fingerprint", "protocol")


@dataclass(frozen=True, slots=True)
class Verified:
    """`differences`: one sentence per leaderboard row that the measurements do not confirm (empty: the bundle is right)."""

    files: int
    rows: int
    leaderboard_rows: int
    differences: list[str]


def verify_bundle(folder: Path) -> Verified:
    """Recompute every hash and the leaderboard. Raises LedgerError when a file is damaged, missing, or refers to rows that it lacks."""
    manifest = check_files(folder)
    tables = {name: pq.read_table(path_of(folder, name)) for name in ("trials", "attempts", "metrics", "measurements", "leaderboard")}
    _check_references(folder, tables)
    recomputed = _recompute(tables)
    differences = _compare(recomputed, tables["leaderboard"])
    return Verified(len(manifest["files"]), sum(entry["rows"] for entry in manifest["files"].values()), len(recomputed), differences)


def _check_references(folder: Path, tables: dict[str, pa.Table]) -> None:
    for name, column, target in (
        ("attempts", "trial", "trials"),
        ("measurements", "attempt_id", "attempts"),
        ("measurements", "metric_id", "metrics"),
    ):
        known = tables[target].column(column)
        lost = pc.filter(pc.unique(tables[name].column(column)), pc.invert(pc.is_in(pc.unique(tables[name].column(column)), known)))
        if len(lost):
            raise LedgerError(f"{path_of(folder, name)} refers to {column} {lost[0]}, which {target}.parquet does not hold.")


def _recompute(tables: dict[str, pa.Table]) -> dict[tuple[object, ...], dict[str, object]]:
    """Leaderboard rows by cell and metric, aggregated by Arrow from the accepted measurements."""
    trials = tables["trials"]
    arm_of_trial = _codes(trials, CELL)
    trials = trials.select(["trial", *CELL]).append_column("arm", arm_of_trial)
    attempts = tables["attempts"].select(["attempt_id", "trial", "accepted"])
    attempts = attempts.filter(pc.equal(attempts.column("accepted"), 1)).join(trials.select(["trial", "arm"]), "trial")
    scores = (
        tables["measurements"]
        .select(["attempt_id", "metric_id", "value"])
        .join(attempts.select(["attempt_id", "arm"]), "attempt_id", join_type="inner")
    )
    found = _aggregate(scores)
    if any(_huge(cell) for cell in found.values()):  # their sum overflows; a power of two scales exactly
        small = scores.set_column(scores.column_names.index("value"), "value", pc.multiply(scores.column("value"), 2.0**-64))
        for key, cell in _aggregate(small).items():
            if _huge(found[key]):
                found[key] |= {field: None if cell[field] is None else cell[field] * 2.0**64 for field in ("mean", "sd")}
    _, first = np.unique(arm_of_trial.to_numpy(), return_index=True)
    arms = {row["arm"]: tuple(row[column] for column in CELL) for row in trials.take(first).to_pylist()}
    metrics = dict(zip(tables["metrics"].column("metric_id").to_pylist(), tables["metrics"].column("metric").to_pylist(), strict=True))
    return {(*arms[arm], metrics[metric]): cell for (arm, metric), cell in found.items()}


def _aggregate(scores: pa.Table) -> dict[tuple[int, int], dict[str, Any]]:
    """n, nonfinite, mean, sd, min and max by (arm, metric_id)."""
    grouped = scores.group_by(["arm", "metric_id"]).aggregate(
        [
            ("value", "count", pc.CountOptions("only_valid")),
            ("value", "count", pc.CountOptions("only_null")),
            ("value", "mean"),
            ("value", "stddev", pc.VarianceOptions(ddof=1)),
            ("value", "min"),
            ("value", "max"),
        ]
    )
    columns = [grouped.column(index).to_pylist() for index in range(grouped.num_columns)]
    names = grouped.column_names
    assert names[:2] == ["arm", "metric_id"], names
    fields = ("n", "nonfinite", "mean", "sd", "min", "max")
    return {(arm, metric): dict(zip(fields, values, strict=True)) for arm, metric, *values in zip(*columns, strict=True)}


def _huge(cell: dict[str, Any]) -> bool:
    return cell["min"] is not None and max(-cell["min"], cell["max"]) > HUGE


def _codes(table: pa.Table, columns: tuple[str, ...]) -> pa.Array:
    """One integer per distinct combination of the columns."""
    texts = [table.column(column).cast(pa.string()) for column in columns]
    joined = pc.binary_join_element_wise(*texts, "\x1f")
    return (
        joined.combine_chunks().dictionary_encode().indices if isinstance(joined, pa.ChunkedArray) else joined.dictionary_encode().indices
    )


def _compare(recomputed: dict[tuple[object, ...], dict[str, object]], leaderboard: pa.Table) -> list[str]:
    differences = []
    stated = {tuple(row[column] for column in (*CELL, "metric")): row for row in leaderboard.to_pylist()}
    for key, row in stated.items():
        mine = recomputed.get(key, {"n": 0, "nonfinite": 0, "mean": None, "sd": None, "min": None, "max": None})
        scale = max(abs(value) if isinstance(value, float) else 0.0 for value in (mine["min"], mine["max"]))
        for field, value in mine.items():
            if not _agree(row[field], value, scale):
                what = f"{key[4]} {key[6]} on {key[1]} {key[3]}, {key[-1]}"
                differences.append(f"{what}: the bundle's leaderboard says {field} = {row[field]}, its measurements give {value}.")
    missing = recomputed.keys() - stated.keys()
    differences += [
        f"{key[4]} on {key[1]}, {key[-1]} was measured but is not in the bundle's leaderboard." for key in sorted(missing, key=repr)
    ]
    return differences


def _agree(left: object, right: object, scale: float) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right or abs(left - right) <= TOLERANCE * scale or (left != left and right != right)
    if left is None or right is None:  # the ledger has no sd where it would overflow or n < 2
        return (left in (None, 0) or left != left or left == float("inf")) and (right is None or right != right or right == float("inf"))
    return left == right
