"""The ledger on SQL: `Ledger`'s methods in terms of a `Backend`. SQLite and PostgreSQL run the same statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection

from db import catalogue as catalogues
from db import notes, recording
from db.dictionaries import Dictionaries, config_keys, next_id
from db.errors import LedgerError
from db.ledger import Ledger
from db.reading import QUERY_SECONDS
from db.records import Attempt, AuditRow, Catalogue, Environment, Run, SubmissionRow, Trial, TrialStatus, VerdictRow
from db.statements import text
from db.values import canonical_json, clean, shown_command

if TYPE_CHECKING:
    import pyarrow

    from db.backends.base import Backend

T = TypeVar("T")

#: Keys per statement: large enough that overhead vanishes, small enough that no parameter grows beyond a megabyte.
CHUNK = 10_000


class SqlLedger(Ledger):
    """The one implementation of `Ledger`; made by `db.open_ledger`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.url, self.surface = backend.url, backend.surface
        self.dictionaries = Dictionaries(backend)

    @contextmanager
    def transaction(self, exclusive: bool = True) -> Iterator[Connection]:
        """A transaction that writes (see `Backend.write`), for modules of this room."""
        try:
            with self.backend.write(exclusive) as connection:
                yield connection
        except BaseException:
            self.dictionaries.forget()  # ids made in a transaction that rolled back are free again
            raise

    # -- catalogue and runs ---------------------------------------------------------------------------------------------------------
    def write_catalogue(self, catalogue: Catalogue) -> None:
        with self.transaction() as connection:
            catalogues.write(self.backend, connection, catalogue)

    def start_run(self, run: Run, environment: Environment) -> None:
        insert = text(
            "INSERT INTO run (id, run, suite, suite_text, engine, argv, planned, started, status, environment_id) VALUES "
            f"(:id, :run, :suite, :suite_text, :engine, :argv, :planned, {self.backend.now}, 'running', :environment) "
            "ON CONFLICT (run) DO NOTHING"
        )
        with self.transaction() as connection:
            environments = self.dictionaries.environments(connection, [environment])
            connection.execute(
                insert,
                {
                    "id": next_id(self.backend, connection, "run"),
                    "run": run.id,
                    "suite": run.suite,
                    "suite_text": clean(run.suite_text),
                    "engine": run.engine,
                    "argv": canonical_json(shown_command(run.argv)),
                    "planned": run.planned,
                    "environment": environments[environment.hash],
                },
            )
            notes.write_tags(connection, run.id, run.tags)

    def finish_run(self, run: str, status: str) -> None:
        if status not in ("complete", "incomplete", "interrupted", "failed"):
            raise LedgerError(f"{status!r} is not a status of a run; it is complete, incomplete, interrupted or failed.")
        with self.transaction(exclusive=False) as connection:
            statement = text(f"UPDATE run SET status = :status, finished = {self.backend.now} WHERE run = :run")
            if not connection.execute(statement, {"run": run, "status": status}).rowcount:
                raise LedgerError(f"There is no run {run} in the ledger; call start_run() first.")

    # -- trials ---------------------------------------------------------------------------------------------------------------------
    def submit(self, run: str, trials: Sequence[Trial]) -> int:
        new = 0
        with self.transaction() as connection:
            run_id = self.dictionaries.run_ids(connection, [run]).get(run)
            if run_id is None:
                raise LedgerError(f"There is no run {run} in the ledger; call start_run() before submit().")
            for chunk in _chunks(list({trial.key: trial for trial in trials}.values())):
                new += self._submit(connection, run_id, chunk)
        return new

    def _submit(self, connection: Connection, run_id: int, trials: Sequence[Trial]) -> int:
        member, keys = self.backend.member("key", "keys"), self.backend.keys([trial.key for trial in trials])
        known = {key for (key,) in self.backend.rows(connection, f"SELECT key FROM trial WHERE {member}", {"keys": keys})}
        missing = [trial for trial in trials if trial.key not in known]
        if missing:
            configs = list(config_keys(missing))
            tasks = self.dictionaries.task_configs(connection, (task for task, _ in configs))
            methods = self.dictionaries.method_configs(connection, (method for _, method in configs))
            first = next_id(self.backend, connection, "trial")
            rows = [
                (identity, trial.key, tasks[task], methods[method], trial.seed, "pending", 0)
                for identity, (trial, (task, method)) in enumerate(zip(missing, configs, strict=True), first)
            ]
            columns = ("id", "key", "task_config_id", "method_config_id", "seed", "state", "attempts")
            self.backend.insert(connection, "trial", columns, rows)
            self.backend.insert(connection, "run_trial", ("run_id", "trial_id"), [(run_id, row[0]) for row in rows])
        if not known:
            return len(missing)
        link = f"INSERT INTO run_trial (run_id, trial_id) SELECT :run, id FROM trial WHERE {member} ON CONFLICT DO NOTHING"
        self.backend.rows(connection, link, {"run": run_id, "keys": self.backend.keys(list(known))})
        return len(missing)

    def statuses(self, keys: Iterable[str]) -> dict[str, TrialStatus]:
        member = self.backend.member("t.key", "keys")
        states = text(
            f"SELECT t.key, t.state, a.seconds, t.attempts FROM trial t LEFT JOIN attempt a ON a.id = t.accepted_id WHERE {member}"
        )
        outcomes = text(
            "SELECT t.key, a.outcome, count(*) FROM trial t JOIN attempt a ON a.trial_id = t.id "
            f"WHERE t.attempts > 0 AND {member} GROUP BY t.key, a.outcome"
        )
        found: dict[str, TrialStatus] = {}
        with self.backend.read() as connection:
            for chunk in _chunks(list(keys)):
                parameters = {"keys": self.backend.keys(chunk)}
                rows = connection.execute(states, parameters).all()
                counts: dict[str, dict[str, int]] = {}
                if any(attempts for *_, attempts in rows):
                    for key, outcome, count in connection.execute(outcomes, parameters):
                        counts.setdefault(key, {})[outcome] = count
                for key, state, seconds, _ in rows:
                    found[key] = TrialStatus(key, state, counts.get(key, {}), seconds)
        return found

    def claim(self, owner: str, keys: Sequence[str], lease_seconds: float) -> list[str]:
        obtained: list[str] = []
        free = f"(state = 'pending' OR (state = 'leased' AND lease_until < {self.backend.now_seconds}))"
        statement = text(
            f"UPDATE trial SET state = 'leased', lease_owner = :owner, lease_until = {self.backend.now_seconds} + :seconds "
            f"WHERE id IN (SELECT id FROM trial WHERE {self.backend.member('key', 'keys')} AND {free} "
            f"ORDER BY id{self.backend.skip_locked}) AND {free} RETURNING key"
        )
        for chunk in _chunks(keys):
            with self.transaction(exclusive=False) as connection:
                parameters = {"owner": owner, "seconds": float(lease_seconds), "keys": self.backend.keys(chunk)}
                got = set(connection.execute(statement, parameters).scalars())
            obtained += [key for key in chunk if key in got]
        return obtained

    def renew(self, owner: str, lease_seconds: float) -> int:
        lock = self.backend.for_update.format(table="trial")
        statement = text(
            f"UPDATE trial SET lease_until = {self.backend.now_seconds} + :seconds WHERE id IN "
            f"(SELECT id FROM trial WHERE lease_owner = :owner ORDER BY id{lock}) AND lease_owner = :owner"
        )
        with self.transaction(exclusive=False) as connection:
            return connection.execute(statement, {"owner": owner, "seconds": float(lease_seconds)}).rowcount

    def release(self, owner: str, keys: Sequence[str] | None = None) -> int:
        some = f" AND {self.backend.member('key', 'keys')}" if keys is not None else ""
        statement = text(
            "UPDATE trial SET state = 'pending', lease_owner = NULL, lease_until = NULL WHERE id IN "
            f"(SELECT id FROM trial WHERE lease_owner = :owner{some} ORDER BY id{self.backend.for_update.format(table='trial')}) "
            "AND lease_owner = :owner"
        )
        released = 0
        with self.transaction(exclusive=False) as connection:
            for chunk in _chunks(keys) if keys is not None else [None]:
                parameters = {"owner": owner} if chunk is None else {"owner": owner, "keys": self.backend.keys(chunk)}
                released += connection.execute(statement, parameters).rowcount
        return released

    def reopen(self, keys: Sequence[str]) -> int:
        statement = text(
            f"UPDATE trial SET state = 'pending' WHERE {self.backend.member('key', 'keys')} AND state IN ('failed', 'quarantined')"
        )
        with self.transaction() as connection:
            return sum(connection.execute(statement, {"keys": self.backend.keys(chunk)}).rowcount for chunk in _chunks(keys))

    # -- results --------------------------------------------------------------------------------------------------------------------
    def record(self, attempts: Sequence[Attempt], environments: Sequence[Environment] = ()) -> int:
        try:
            return recording.record(self.backend, self.dictionaries, attempts, environments)
        except BaseException:
            self.dictionaries.forget()
            raise

    def record_verdicts(self, verdicts: Sequence[VerdictRow]) -> None:
        with self.transaction() as connection:
            catalogues.write_verdicts(self.backend, connection, verdicts)

    def record_audits(self, audits: Sequence[AuditRow]) -> int:
        with self.transaction() as connection:
            return notes.write_audits(self.backend, connection, audits)

    def record_submission(self, submission: SubmissionRow, after: int | None = None) -> int:
        with self.transaction() as connection:
            return notes.write_submission(self.backend, connection, submission, after)

    # -- reading --------------------------------------------------------------------------------------------------------------------
    def query(self, sql: str, params: dict[str, Any] | None = None) -> pyarrow.Table:
        return self.surface.table(sql, params, QUERY_SECONDS)

    def close(self) -> None:
        self.backend.dispose()


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
