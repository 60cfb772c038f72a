"""The conformance tests of `Ledger`, for every implementation of it, ours and third parties'.

    class TestMyLedger(LedgerConformance):
        @pytest.fixture
        def open_again(self, tmp_path):
            return lambda: MyLedger(tmp_path)      # the same store each time, empty when the test begins

`trial`, `attempt`, `environment` and `catalogue` make records for other tests too.
"""

from __future__ import annotations

from db.testing.examples import (
    ENVIRONMENT,
    ODD_VALUES,
    RUN,
    START,
    attempt,
    audit,
    catalogue,
    claim,
    number,
    same,
    submission,
    trial,
    verdict,
)
from db.testing.notes import NoteConformance
from db.testing.reading import ReadingConformance
from db.testing.results import ResultConformance
from db.testing.trials import TrialConformance

__all__ = [
    "ENVIRONMENT",
    "ODD_VALUES",
    "RUN",
    "START",
    "LedgerConformance",
    "attempt",
    "audit",
    "catalogue",
    "claim",
    "number",
    "same",
    "submission",
    "trial",
    "verdict",
]


class LedgerConformance(TrialConformance, ResultConformance, NoteConformance, ReadingConformance):
    """Every promise of `db.ledger.Ledger`. Subclasses provide the fixture `open_again`."""
