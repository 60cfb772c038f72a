from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sample_ledger import sample

from db.ledger import Ledger


@pytest.fixture(scope="session")
def sample_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger file with the synthetic results of five families; treat it as read-only."""
    path = tmp_path_factory.mktemp("reports") / "sample.db"
    sample(path).close()
    return path


@pytest.fixture
def ledger(sample_path: Path) -> Iterator[Ledger]:
    from db import open_ledger

    with open_ledger(str(sample_path), read_only=True) as opened:
        yield opened


@pytest.fixture
def empty_ledger(tmp_path: Path) -> Iterator[Ledger]:
    from db import open_ledger

    with open_ledger(str(tmp_path / "fresh.db"), create=True) as opened:
        yield opened
