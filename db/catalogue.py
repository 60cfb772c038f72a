"""Writing the catalogue: what the newest run knows about tasks, methods, metrics, papers and claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from db.dictionaries import next_id
from db.errors import LedgerError
from db.records import Catalogue, ClaimRow, VerdictRow
from db.statements import text
from db.values import canonical_json, clean, number_or_none

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.backends.base import Backend


def write(backend: Backend, connection: Connection, catalogue: Catalogue) -> None:
    """See `Ledger.write_catalogue`; in the caller's exclusive transaction."""
    papers = [
        {"paper": row.paper, "title": clean(row.title), "family": row.family, "tier": row.tier, "benchmark": clean(row.benchmark)}
        for row in catalogue.papers
    ]
    _upsert(connection, "paper", ("paper",), papers)
    tasks = [
        {
            "task": row.task,
            "family": row.family,
            "version": row.version,
            "label": clean(row.label),
            "doc": clean(row.doc),
            "params_schema": canonical_json(dict(row.params_schema)),
        }
        for row in catalogue.tasks
    ]
    _upsert(connection, "task", ("task",), tasks)
    methods = [
        {
            "method": row.method,
            "family": row.family,
            "version": row.version,
            "label": clean(row.label),
            "doc": clean(row.doc),
            "paper": row.paper,
            "knowledge": canonical_json(list(row.knowledge)),
            "params_schema": canonical_json(dict(row.params_schema)),
        }
        for row in catalogue.methods
    ]
    _upsert(connection, "method", ("method",), methods)
    first = next_id(backend, connection, "metric")
    metrics = [
        {
            "id": first + index,
            "task": metric.task,
            "metric": metric.metric,
            "unit": metric.unit,
            "direction": metric.direction,
            "doc": clean(metric.doc),
            "is_primary": int(metric.is_primary),
            "curve": metric.curve,
            "low": _bound(metric.low),
            "high": _bound(metric.high),
            "declared": 1,
        }
        for index, metric in enumerate(metric for task in catalogue.tasks for metric in task.metrics)
    ]
    _upsert(connection, "metric", ("task", "metric"), metrics, keep=("id",))
    _write_claims(backend, connection, catalogue.claims)


def _bound(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _upsert(
    connection: Connection, table: str, key: tuple[str, ...], rows: Sequence[Mapping[str, Any]], keep: tuple[str, ...] = ()
) -> None:
    """Insert the rows, or update all columns but `key` and `keep` of those whose key exists."""
    if rows:
        columns = list(rows[0])
        changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in (*key, *keep))
        statement = (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + column for column in columns)}) "
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"
        )
        connection.execute(text(statement), list(rows))


def _write_claims(backend: Backend, connection: Connection, claims: Sequence[ClaimRow]) -> None:
    for row in claims:
        old = connection.execute(text("SELECT hash FROM claim WHERE claim = :claim"), {"claim": row.claim}).scalar()
        values = {
            "claim": row.claim,
            "paper": row.paper,
            "family": row.family,
            "statement": clean(row.statement),
            "task": row.task,
            "metric": row.metric,
            "definition": canonical_json(dict(row.definition)),
            "hash": row.hash,
        }
        if old is None:
            names = list(values)
            places = ", ".join(":" + name for name in names)
            connection.execute(text(f"INSERT INTO claim ({', '.join(names)}, since) VALUES ({places}, {backend.now})"), values)
            continue
        since = "since"
        if old != row.hash:
            since = backend.now
            connection.execute(
                text(
                    "INSERT INTO claim_revision (id, claim, hash, statement, definition, since, replaced) "
                    f"SELECT :id, claim, hash, statement, definition, since, {backend.now} FROM claim WHERE claim = :claim"
                ),
                {"claim": row.claim, "id": next_id(backend, connection, "claim_revision")},
            )
        changes = ", ".join(f"{name} = :{name}" for name in values if name != "claim")
        connection.execute(text(f"UPDATE claim SET {changes}, since = {since} WHERE claim = :claim"), values)


def write_verdicts(backend: Backend, connection: Connection, verdicts: Sequence[VerdictRow]) -> None:
    """See `Ledger.record_verdicts`; in the caller's exclusive transaction."""
    newest = text("SELECT verdict, trials FROM verdict WHERE claim = :claim AND claim_hash = :hash ORDER BY id DESC LIMIT 1")
    insert = text(
        "INSERT INTO verdict (id, claim, claim_hash, verdict, effect, low, high, n, p_value, test, detail, trials, decided) VALUES "
        f"(:id, :claim, :hash, :verdict, :effect, :low, :high, :n, :p_value, :test, :detail, :trials, {backend.now})"
    )
    for row in verdicts:
        if not connection.execute(text("SELECT count(*) FROM claim WHERE claim = :claim"), {"claim": row.claim}).scalar():
            raise LedgerError(f"There is no claim {row.claim} in the ledger; write the catalogue before its verdict.")
        trials = canonical_json(sorted(row.trials))
        current = connection.execute(newest, {"claim": row.claim, "hash": row.claim_hash}).first()
        if current is not None and tuple(current) == (row.verdict, trials):
            continue
        connection.execute(
            insert,
            {
                "id": next_id(backend, connection, "verdict"),
                "claim": row.claim,
                "hash": row.claim_hash,
                "verdict": row.verdict,
                "effect": number_or_none(row.effect),
                "low": number_or_none(row.low),
                "high": number_or_none(row.high),
                "n": row.n,
                "p_value": number_or_none(row.p_value),
                "test": clean(row.test),
                "detail": canonical_json(dict(row.detail)),
                "trials": trials,
            },
        )
