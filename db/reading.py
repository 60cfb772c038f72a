"""One guarded query with limits, for people: what `assay sql` and the web pages call."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db.errors import QueryRefused

if TYPE_CHECKING:
    from db.surface import Surface

#: A person at a prompt waits no longer and reads no more; both are options of `assay sql`.
SECONDS = 60.0
ROWS = 10_000
#: Seconds that a query of a report may take.
QUERY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query. `truncated`: there are more than the limit let through."""

    names: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    seconds: float


def ask(surface: Surface, sql: str, params: dict[str, Any] | None = None, timeout: float = SECONDS, limit: int | None = ROWS) -> Answer:
    """Run a SELECT over the public views, ended after `timeout` seconds and cut after `limit` rows (None: no limit)."""
    start = time.perf_counter()
    names, rows = surface.rows(one_statement(sql), params, timeout, None if limit is None else limit + 1)
    truncated = limit is not None and len(rows) > limit
    return Answer(names, rows[:limit] if truncated else rows, truncated, time.perf_counter() - start)


def explain(surface: Surface, sql: str, params: dict[str, Any] | None = None, timeout: float = SECONDS) -> list[str]:
    """The database's plan for the query, one line per step; nothing is run."""
    return surface.explain(one_statement(sql), params, timeout)


def one_statement(sql: str) -> str:
    """`sql` without the semicolon that people end it with; QueryRefused when nothing is left."""
    text = sql.strip().rstrip(";").rstrip()
    if not text:
        raise QueryRefused("The query is empty; try `SELECT * FROM leaderboard`.")
    return text
