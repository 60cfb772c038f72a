"""A coordinator's leases on trials, so that several may work on one ledger and a killed one blocks nobody for long."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO

from db.errors import LedgerUnavailable
from db.ledger import Ledger
from db.records import TrialStatus

#: A coordinator that was killed delays its trials by this long at most.
LEASE_SECONDS = 30.0

#: How often trials that somebody else holds are looked at again.
RECHECK_SECONDS = 2.0


class Leases:
    """Claims, renews and releases for one owner. While the ledger is unavailable nothing is claimed and nothing is raised."""

    def __init__(self, ledger: Ledger, folder: Path, clock: Callable[[], float] = time.monotonic, silence: float = 0.0) -> None:
        """`silence`: seconds for which `tick` may not be called."""
        self._seconds = LEASE_SECONDS + silence
        self._ledger, self._folder, self._clock = ledger, folder, clock
        self._ledger_id = hashlib.sha256(ledger.url.encode()).hexdigest()[:12]
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lock = self._stand_up()
        self._renew_at = clock() + LEASE_SECONDS / 3
        self._unsure: list[str] = []  #: keys that were claimed without an answer
        self.unavailable_since: float | None = None

    def free_the_dead(self) -> None:
        """Release what coordinators of this machine held when they were killed, so that nobody waits for their leases to run out.

        Each living coordinator holds a lock on a file named after it; the kernel drops the lock when it dies, however it dies.
        """
        for path in self._folder.glob(f"{self._ledger_id}@*"):
            try:
                with open(path) as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._ledger.release(path.name.split("@", 1)[1])
                    path.unlink(missing_ok=True)
            except (OSError, LedgerUnavailable):  # it lives, or the lease will run out by itself
                continue

    def claim(self, keys: list[str]) -> set[str] | None:
        """Those of `keys` that are ours now; None when the ledger can't be reached."""
        try:
            if self._unsure:  # some may be ours without our knowing, and nobody could have them while we renew them
                self._ledger.release(self.owner, self._unsure)
                self._unsure.clear()
            got = set(self._ledger.claim(self.owner, keys, self._seconds))
        except LedgerUnavailable:
            self._unsure += keys
            self._unavailable()
            return None
        self.unavailable_since = None
        return got

    def statuses(self, keys: Iterable[str]) -> Mapping[str, TrialStatus]:
        """What the ledger knows; empty when it can't be reached."""
        try:
            found = self._ledger.statuses(keys)
        except LedgerUnavailable:
            self._unavailable()
            return {}
        self.unavailable_since = None
        return found

    def tick(self) -> None:
        """Renew what is due. Call often."""
        now = self._clock()
        if now < self._renew_at:
            return
        self._renew_at = now + LEASE_SECONDS / 3
        try:
            self._ledger.renew(self.owner, self._seconds)
        except LedgerUnavailable:
            self._unavailable()
        else:
            self.unavailable_since = None

    def release(self) -> None:
        """Give back whatever is still ours."""
        try:
            self._ledger.release(self.owner)
        except LedgerUnavailable:
            self._unavailable()  # the leases run out by themselves
            return
        if self._lock is not None:
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _stand_up(self) -> TextIO | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = open(self._folder / f"{self._ledger_id}@{self.owner}", "w")  # noqa: SIM115  held until the end
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: only the short way is lost
            return None
        return lock

    def _unavailable(self) -> None:
        if self.unavailable_since is None:
            self.unavailable_since = self._clock()
