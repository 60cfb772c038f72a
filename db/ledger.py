"""The contract of the results store. `db.open_ledger(url)` returns an implementation; reports and harness know only this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from db.records import Attempt, AuditRow, Catalogue, Environment, Run, SubmissionRow, Trial, TrialStatus, VerdictRow

if TYPE_CHECKING:
    import pyarrow


class Ledger(ABC):
    """A persistent store of trials, attempts and measurements.

    Thread-safety: one Ledger object belongs to one thread; open another for another thread or process (any number may share a database).
    Ownership: the coordinator that opened it closes it; workers never open one.
    Errors: every method raises LedgerUnavailable when the database can't be reached or written (nothing was changed then), LedgerCorrupt
    when it is damaged, SchemaMismatch when it belongs to another version of the code, and plain LedgerError for what no ledger holds, such
    as an unknown outcome or a number beyond 64 bits (nothing was changed then either).
    """

    url: str

    # -- catalogue and runs ---------------------------------------------------------------------------------------------------------
    @abstractmethod
    def write_catalogue(self, catalogue: Catalogue) -> None:
        """Insert or update the rows given; rows of other tasks, methods, papers and claims stay as they are. A claim whose hash changed
        keeps its old definition as a revision."""

    @abstractmethod
    def start_run(self, run: Run, environment: Environment) -> None:
        """Record that a run starts now (database clock), with its tags. Raises LedgerError for a tag that is empty, longer than 100
        characters or not printable. A run that the ledger holds already stays as it is, but for further tags."""

    @abstractmethod
    def finish_run(self, run: str, status: str) -> None:
        """Record that a run ended now; status is complete, incomplete, interrupted or failed."""

    # -- trials ---------------------------------------------------------------------------------------------------------------------
    @abstractmethod
    def submit(self, run: str, trials: Sequence[Trial]) -> int:
        """Make the trials known and link them to the run; returns how many were new. Submitting twice is a no-op."""

    @abstractmethod
    def statuses(self, keys: Iterable[str]) -> dict[str, TrialStatus]:
        """Status of those trials that the ledger holds (any number of keys)."""

    @abstractmethod
    def claim(self, owner: str, keys: Sequence[str], lease_seconds: float) -> list[str]:
        """Lease those of `keys` that are pending or whose lease has run out (database clock), atomically; returns the keys obtained."""

    @abstractmethod
    def renew(self, owner: str, lease_seconds: float) -> int:
        """Extend every lease that `owner` holds; returns how many."""

    @abstractmethod
    def release(self, owner: str, keys: Sequence[str] | None = None) -> int:
        """Give leases back (all of the owner's when `keys` is None): the trials become pending. Returns how many."""

    @abstractmethod
    def reopen(self, keys: Sequence[str]) -> int:
        """Make failed or quarantined trials pending again (for `assay retry`); returns how many."""

    # -- results --------------------------------------------------------------------------------------------------------------------
    @abstractmethod
    def record(self, attempts: Sequence[Attempt], environments: Sequence[Environment] = ()) -> int:
        """Store attempts, their measurements and the trials' new states in ONE transaction; returns how many attempts were new.

        The first ok attempt of a trial becomes its accepted result; later ok attempts are kept as replicates. A trial that is done stays
        done whatever arrives late. An attempt id seen before is ignored. Trials that `submit` never saw raise LedgerError.
        """

    @abstractmethod
    def record_verdicts(self, verdicts: Sequence[VerdictRow]) -> None:
        """Append verdicts, decided now. One equal to the claim's current verdict (same claim hash, verdict and trials) is not repeated."""

    @abstractmethod
    def record_audits(self, audits: Sequence[AuditRow]) -> int:
        """Store how well repetitions agreed, now; returns how many were new. An audit of an attempt that has one already is ignored; an
        attempt that the ledger does not hold raises LedgerError."""

    @abstractmethod
    def record_submission(self, submission: SubmissionRow, after: int | None = None) -> int:
        """Append a submission to its guarded board, now; returns its number there (1, 2, …).

        With `after`, raises LedgerError unless the board holds exactly so many submissions: whoever decided what to display from the
        board's history then knows that nobody was faster. An id seen before is a no-op that returns its number."""

    # -- reading --------------------------------------------------------------------------------------------------------------------
    @abstractmethod
    def query(self, sql: str, params: dict[str, Any] | None = None) -> pyarrow.Table:
        """Rows of a SELECT over the public views (named parameters `:name`). Only reads; raises QueryRefused otherwise."""

    def submissions(self, board: str | None = None) -> list[SubmissionRow]:
        """Submissions to one guarded board (None: to all), by board and number."""
        some = "" if board is None else " WHERE board = :board"
        rows = self.query(f"SELECT * FROM submissions{some} ORDER BY board, number", None if board is None else {"board": board})
        return [
            SubmissionRow(
                row["submission"], row["board"], row["submitter"], row["mechanism"], row["displayed"], bool(row["released"]),
                row["threshold"], row["budget_left"], row["method"], row["note"], row["number"],
                row["at"] if isinstance(row["at"], datetime) else datetime.fromisoformat(row["at"]),
            )
            for row in rows.to_pylist()
        ]  # fmt: skip

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
