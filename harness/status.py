"""How a run stands, read from the ledger alone: for runs started elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from db.ledger import Ledger
from harness.errors import NotInLedger

#: Attempts that ended within this time say how fast the run is now.
RECENT_SECONDS = 300.0
#: A running run that has been silent for longer deserves a word.
SILENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run: its trials by state, its attempts by outcome, recent speed, and the seconds left at that speed (None: can't be told)."""

    run: str
    suite: str
    engine: str
    status: str
    started: str
    finished: str | None
    planned: int
    states: dict[str, int]
    outcomes: dict[str, int]
    workers: int  #: that were busy lately, on average
    per_second: float
    seconds_left: float | None
    last_attempt: str | None
    silent_seconds: float  #: since the last attempt ended (or the run started); long silence: long trials, or the coordinator is gone


def latest_run(ledger: Ledger, prefix: str = "") -> str:
    """The newest run whose id starts with `prefix`, of those that planned trials (`reproduce` and `audit` plan none) if there is one."""
    rows = ledger.query(  # not by < and >: which characters come after others depends on the server's locale
        "SELECT run FROM runs WHERE substr(run, 1, :length) = :prefix ORDER BY planned = 0, started DESC LIMIT 1",
        {"length": len(prefix), "prefix": prefix},
    ).to_pylist()
    if not rows:
        raise NotInLedger(f"No run in {ledger.url} starts with {prefix!r}." if prefix else f"{ledger.url} holds no run yet.")
    return str(rows[0]["run"])


def run_status(ledger: Ledger, run: str) -> RunStatus:
    """The status of `run` (a full id)."""

    def rows(sql: str, **params: Any) -> list[dict[str, Any]]:
        return ledger.query(sql, {"run": run, **params}).to_pylist()  # type: ignore[no-any-return]

    (row,) = rows("SELECT * FROM runs WHERE run = :run")
    mine = "trial IN (SELECT trial FROM run_trials WHERE run = :run)"
    states = {item["state"]: item["n"] for item in rows(f"SELECT state, COUNT(*) AS n FROM trials WHERE {mine} GROUP BY state")}
    attempts = rows("SELECT outcome, seconds, finished FROM attempts WHERE run = :run")
    ends = [_time(attempt["finished"]) for attempt in attempts]
    now = datetime.now(UTC) if row["status"] == "running" else max(ends, default=datetime.now(UTC))
    recent = [(end, attempt) for end, attempt in zip(ends, attempts, strict=True) if (now - end).total_seconds() <= RECENT_SECONDS]
    span = max(min(RECENT_SECONDS, (now - _time(row["started"])).total_seconds()), 1.0)
    speed = len(recent) / span if len(recent) > 1 else 0.0
    open_trials = states.get("pending", 0) + states.get("leased", 0)
    outcomes: dict[str, int] = {}
    for attempt in attempts:
        outcomes[attempt["outcome"]] = outcomes.get(attempt["outcome"], 0) + 1
    return RunStatus(
        run=run,
        suite=row["suite"],
        engine=row["engine"],
        status=row["status"],
        started=_time(row["started"]).isoformat(timespec="seconds"),
        finished=_time(row["finished"]).isoformat(timespec="seconds") if row["finished"] else None,
        planned=row["planned"],
        states=states,
        outcomes=outcomes,
        workers=max(1, round(sum(attempt["seconds"] for _, attempt in recent) / span)) if recent else 0,
        per_second=speed,
        seconds_left=open_trials / speed if speed and row["status"] == "running" else None,
        last_attempt=max(ends).isoformat(timespec="seconds") if ends else None,
        silent_seconds=max((now - max([*ends, _time(row["started"])])).total_seconds(), 0.0),
    )


def _time(value: Any) -> datetime:
    """A time column: text on SQLite, a datetime on PostgreSQL."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
