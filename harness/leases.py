"""A coordinator's leases on trials, so that several may work on one ledger and a killed one blocks nobody for long."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping

from db.errors import LedgerUnavailable
from db.ledger import Ledger
from db.records import TrialStatus

#: A coordinator that was killed delays its trials by this long at most.
LEASE_SECONDS = 30.0

#: How often trials that somebody else holds are looked at again.
RECHECK_SECONDS = 2.0


class Leases:
    """Claims, renews and releases for one owner. While the ledger is unavailable nothing is claimed and nothing is raised."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._clock = ledger, clock
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._renew_at = clock() + LEASE_SECONDS / 3
        self.unavailable_since: float | None = None

    def claim(self, keys: list[str]) -> set[str] | None:
        """Those of `keys` that are ours now; None when the ledger can't be reached."""
        try:
            got = set(self._ledger.claim(self.owner, keys, LEASE_SECONDS))
        except LedgerUnavailable:
            self._unavailable()
            return None
        self.unavailable_since = None
        return got

    def statuses(self, keys: Iterable[str]) -> Mapping[str, TrialStatus]:
        """What the ledger knows; empty when it can't be reached."""
        try:
            return self._ledger.statuses(keys)
        except LedgerUnavailable:
            self._unavailable()
            return {}

    def tick(self) -> None:
        """Renew what is due. Call often."""
        now = self._clock()
        if now < self._renew_at:
            return
        self._renew_at = now + LEASE_SECONDS / 3
        try:
            self._ledger.renew(self.owner, LEASE_SECONDS)
        except LedgerUnavailable:
            self._unavailable()

    def release(self) -> None:
        """Give back whatever is still ours."""
        try:
            self._ledger.release(self.owner)
        except LedgerUnavailable:
            self._unavailable()  # the leases run out by themselves

    def _unavailable(self) -> None:
        if self.unavailable_since is None:
            self.unavailable_since = self._clock()
