"""Brings attempts to the ledger in groups, and to the spool when the ledger can't be written: nothing measured is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from db.errors import LedgerUnavailable
from db.ledger import Ledger
from db.records import Attempt, Environment
from db.spool import Spool
from harness.identity import content_key

#: A group is committed when it has so many attempts or so long after the one before: kill -9 loses no more than that, and what comes after
#: a pause is committed at once.
GROUP_ATTEMPTS, GROUP_SECONDS = 500, 0.25

#: Between two tries to reach a ledger that was unavailable.
RETRY_SECONDS = 5.0


class Recorder:
    """The only writer of a coordinator's attempts. `on_trouble` gets a sentence when the ledger goes away and when it is back."""

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        *,
        group_attempts: int = GROUP_ATTEMPTS,
        group_seconds: float = GROUP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        on_trouble: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._ledger, self._spool, self._clock, self._on_trouble = ledger, spool, clock, on_trouble
        self._group_attempts, self._group_seconds = group_attempts, group_seconds
        self._attempts: list[Attempt] = []
        self._environments: dict[str, Environment] = {}
        self._known: set[str] = set()  #: environments that the ledger holds
        self._digests: dict[int, tuple[Mapping[str, Any], str]] = {}  #: by identity, of the contents seen last
        self._flushed = clock()
        self._stuck = False  #: not even the spool can be written: `tick` tries again, but not each attempt that comes
        self._retry_at: float | None = None  #: None: the ledger is there
        self.recorded = 0  #: attempts that reached the ledger

    def environment(self, content: Mapping[str, Any]) -> str:
        """The hash of an environment's content, which is recorded with the next group unless the ledger has it."""
        if (known := self._digests.get(id(content))) is not None:
            return known[1]
        digest = content_key(content)
        if len(self._digests) >= 64:  # of more workers than these, or from a Ray that copies it with every answer
            self._digests.clear()
        self._digests[id(content)] = (content, digest)
        if digest not in self._known:
            self._environments[digest] = Environment(digest, content)
        return digest

    def add(self, attempt: Attempt) -> None:
        """Take an attempt; it is durable after the next commit."""
        self._attempts.append(attempt)
        if len(self._attempts) >= self._group_attempts and not self._stuck:
            self.flush()

    def tick(self) -> None:
        """Commit what is due. Call often."""
        now = self._clock()
        if self._attempts and now - self._flushed >= self._group_seconds:
            self.flush()
        elif self._retry_at is not None and now >= self._retry_at:
            self._reach()

    def flush(self) -> None:
        """Commit everything now, or spool it; where neither can be done, keep it."""
        self._flushed = self._clock()
        try:
            self._store()
        except LedgerUnavailable as error:
            if not self._stuck:
                self._on_trouble(f"{error} Results wait in memory.")
            self._stuck = True

    def _store(self) -> None:
        if not self._attempts:
            return
        if self._retry_at is None or self._clock() >= self._retry_at:
            try:
                self._drain_spool()
                self._ledger.record(self._attempts, list(self._environments.values()))
            except LedgerUnavailable as error:
                self._lost(error)
            except BaseException:  # a damaged ledger, a defect, an impatient person: the run ends, what it measured stays
                self._spool.write(self._attempts, list(self._environments.values()))
                self._clear()
                raise
            else:
                self._back()
                self.recorded += len(self._attempts)
                self._clear()
                return
        self._spool.write(self._attempts, list(self._environments.values()))
        self._clear()

    def close(self) -> None:
        """Commit the rest, or leave it in the spool (see `spooling`). Raises LedgerUnavailable when it can't even be spooled."""
        self._retry_at = None if self._retry_at is None else self._clock()
        self._store()
        if self._retry_at is not None:
            self._reach()

    @property
    def spooling(self) -> bool:
        """Whether attempts wait in the spool, because the ledger can't be written; the next run ingests what is left there."""
        return self._retry_at is not None

    def _reach(self) -> None:
        try:
            self._drain_spool()
        except LedgerUnavailable as error:
            self._lost(error)
        else:
            self._back()

    def _drain_spool(self) -> None:
        if self._retry_at is not None:
            self.recorded += ingest(self._spool, self._ledger, self._on_trouble)

    def _lost(self, error: LedgerUnavailable) -> None:
        if self._retry_at is None:
            self._on_trouble(f"{error} Results wait in {self._spool.folder} until it is back.")
        self._retry_at = self._clock() + RETRY_SECONDS

    def _back(self) -> None:
        if self._retry_at is not None:
            self._on_trouble("The ledger is back; what was spooled is in it.")
        self._retry_at = None

    def _clear(self) -> None:
        self._attempts.clear()
        self._stuck = False
        if self._retry_at is None:
            self._known.update(self._environments)
            self._environments.clear()


def ingest(spool: Spool, ledger: Ledger, on_trouble: Callable[[str], None]) -> int:
    """Bring what waits in the spool to the ledger; returns how many attempts were new. `on_trouble` gets a sentence for each file that was
    set aside instead. Raises what the ledger raises."""
    try:
        return spool.ingest(ledger)
    finally:
        for path, reason in spool.take_rejected():
            on_trouble(f"{reason} It is set aside as {path}.")
