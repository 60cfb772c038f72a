"""A ledger opened for reading: everything goes through the guarded SQL surface, and nothing of SQLAlchemy is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from db.errors import LedgerUnavailable
from db.ledger import Ledger
from db.reading import QUERY_SECONDS
from db.records import Attempt, AuditRow, Catalogue, Environment, Run, SubmissionRow, Trial, TrialStatus, VerdictRow

if TYPE_CHECKING:
    import pyarrow

    from db.surface import Surface

#: Keys per query.
CHUNK = 10_000


class ReadOnlyLedger(Ledger):
    """Reads; every method that would write raises LedgerUnavailable. Made by `db.open_ledger(url, read_only=True)`."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.url = surface.url

    def query(self, sql: str, params: dict[str, Any] | None = None) -> pyarrow.Table:
        return self.surface.table(sql, params, QUERY_SECONDS)

    def statuses(self, keys: Iterable[str]) -> dict[str, TrialStatus]:
        member = self.surface.member("trial", "keys")
        wanted = list(keys)
        found: dict[str, TrialStatus] = {}
        for start in range(0, len(wanted), CHUNK):
            parameters = {"keys": self.surface.keys(wanted[start : start + CHUNK])}
            counts: dict[str, dict[str, int]] = {}
            outcomes = f"SELECT trial, outcome, count(*) FROM attempts WHERE {member} GROUP BY trial, outcome"
            for key, outcome, count in self.surface.rows(outcomes, parameters, QUERY_SECONDS)[1]:
                counts.setdefault(key, {})[outcome] = count
            states = f"SELECT trial, state, CASE WHEN attempt IS NULL THEN NULL ELSE seconds END FROM trials WHERE {member}"
            for key, state, seconds in self.surface.rows(states, parameters, QUERY_SECONDS)[1]:
                found[key] = TrialStatus(key, state, counts.get(key, {}), seconds)
        return found

    def close(self) -> None:
        self.surface.close()

    def _refuse(self) -> NoReturn:
        raise LedgerUnavailable(f"The ledger {self.url} was opened for reading only; open it without read_only to change it.")

    def write_catalogue(self, catalogue: Catalogue) -> None:
        self._refuse()

    def start_run(self, run: Run, environment: Environment) -> None:
        self._refuse()

    def finish_run(self, run: str, status: str) -> None:
        self._refuse()

    def submit(self, run: str, trials: Sequence[Trial]) -> int:
        self._refuse()

    def claim(self, owner: str, keys: Sequence[str], lease_seconds: float) -> list[str]:
        self._refuse()

    def renew(self, owner: str, lease_seconds: float) -> int:
        self._refuse()

    def release(self, owner: str, keys: Sequence[str] | None = None) -> int:
        self._refuse()

    def reopen(self, keys: Sequence[str]) -> int:
        self._refuse()

    def record(self, attempts: Sequence[Attempt], environments: Sequence[Environment] = ()) -> int:
        self._refuse()

    def record_verdicts(self, verdicts: Sequence[VerdictRow]) -> None:
        self._refuse()

    def record_audits(self, audits: Sequence[AuditRow]) -> int:
        self._refuse()

    def record_submission(self, submission: SubmissionRow, after: int | None = None) -> int:
        self._refuse()
