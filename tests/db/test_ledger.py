"""The contract of the ledger on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from db import open_ledger
from db.ledger import Ledger
from db.testing import LedgerConformance


class TestLedger(LedgerConformance):
    @pytest.fixture
    def open_again(self, new_url: Callable[[], str]) -> Callable[[], Ledger]:
        url = new_url()
        return lambda: open_ledger(url)
