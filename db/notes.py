"""What is kept beside trials and their results: tags of runs, audits, submissions to guarded boards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from db.dictionaries import next_id
from db.errors import LedgerError
from db.records import AuditRow, SubmissionRow
from db.statements import text
from db.values import checked_tag, clean, number_or_none

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.backends.base import Backend


def write_tags(connection: Connection, run: str, tags: Sequence[str]) -> None:
    """Tag a run; in the caller's exclusive transaction."""
    statement = text("INSERT INTO run_tag (run_id, tag) SELECT id, :tag FROM run WHERE run = :run ON CONFLICT DO NOTHING")
    for tag in dict.fromkeys(tags):
        try:
            connection.execute(statement, {"run": run, "tag": checked_tag(tag)})
        except ValueError as error:
            raise LedgerError(str(error)) from None


def write_audits(backend: Backend, connection: Connection, audits: Sequence[AuditRow]) -> int:
    """See `Ledger.record_audits`; in the caller's exclusive transaction."""
    insert = text(
        "INSERT INTO audit (attempt_id, condition, verdict, tolerance, deviation, metric, at) VALUES "
        f"(:attempt, :condition, :verdict, :tolerance, :deviation, :metric, {backend.now}) ON CONFLICT (attempt_id) DO NOTHING"
    )
    new = 0
    for row in audits:
        attempt = connection.execute(text("SELECT id FROM attempt WHERE key = :key"), {"key": row.attempt}).scalar()
        if attempt is None:
            raise LedgerError(f"There is no attempt {row.attempt} in the ledger; record() the repetition before its audit.")
        new += connection.execute(
            insert,
            {
                "attempt": attempt,
                "condition": row.condition,
                "verdict": row.verdict,
                "tolerance": float(row.tolerance),
                "deviation": number_or_none(row.deviation),
                "metric": row.metric,
            },
        ).rowcount
    return new


def write_submission(backend: Backend, connection: Connection, row: SubmissionRow, after: int | None) -> int:
    """See `Ledger.record_submission`; in the caller's exclusive transaction."""
    known = connection.execute(text("SELECT number FROM submission WHERE submission = :id"), {"id": row.id}).scalar()
    if known is not None:
        return int(known)
    board = {"board": clean(row.board)}
    count, last = connection.execute(text("SELECT count(*), coalesce(max(number), 0) FROM submission WHERE board = :board"), board).one()
    if after is not None and count != after:
        raise LedgerError(f"The board {row.board} holds {count} submissions, not {after}: somebody else submitted meanwhile; submit again.")
    connection.execute(
        text(
            "INSERT INTO submission (id, submission, board, number, submitter, method, note, mechanism, displayed, released, threshold, "
            "budget_left, at) VALUES (:id, :submission, :board, :number, :submitter, :method, :note, :mechanism, :displayed, :released, "
            f":threshold, :budget_left, {backend.now})"
        ),
        {
            "id": next_id(backend, connection, "submission"),
            "submission": row.id,
            **board,
            "number": last + 1,
            "submitter": clean(row.submitter),
            "method": row.method,
            "note": clean(row.note),
            "mechanism": clean(row.mechanism),
            "displayed": number_or_none(row.displayed),
            "released": int(row.released),
            "threshold": number_or_none(row.threshold),
            "budget_left": number_or_none(row.budget_left),
        },
    )
    return int(last) + 1
