"""Leases on a real SQLite ledger whose cable can be pulled."""

from __future__ import annotations

import pytest

from db import open_ledger
from db.errors import LedgerUnavailable
from harness.leases import LEASE_SECONDS, Leases
from tests.harness.toys import start_run, toy_plan, toys


class Flaky:
    def __init__(self, ledger) -> None:
        self._ledger, self.there, self.url = ledger, True, ledger.url

    def __getattr__(self, name):
        if not self.there:
            raise LedgerUnavailable("The ledger is not to be reached.")
        return getattr(self._ledger, name)


@pytest.mark.parametrize("ask", ["claim", "renew", "statuses"])
def test_a_ledger_that_answers_again_counts_as_reachable(tmp_path, ask):
    """Else a run that later has nothing to do but wait would give up: it looks at how long the ledger has been away."""
    plan = toy_plan(toys("ok", range(2)))
    with open_ledger(tmp_path / "assay.db", create=True) as ledger:
        ledger.submit(start_run(ledger), plan.trials)
        clock = [0.0]
        flaky = Flaky(ledger)
        leases = Leases(flaky, tmp_path / "coordinators", clock=lambda: clock[0])
        key = plan.trials[0].key
        assert leases.claim([key]) == {key}
        flaky.there = False
        clock[0] = LEASE_SECONDS / 3
        leases.tick()
        assert leases.unavailable_since == clock[0]
        flaky.there = True
        clock[0] *= 2
        {"claim": lambda: leases.claim([plan.trials[1].key]), "renew": leases.tick, "statuses": lambda: leases.statuses([key])}[ask]()
        assert leases.unavailable_since is None
        leases.release()


def test_what_was_claimed_when_the_answer_was_lost_can_be_claimed_again(tmp_path, monkeypatch):
    """The transaction was committed, the connection broke before anybody heard of it."""
    plan = toy_plan(toys("ok", range(2)))
    keys = [trial.key for trial in plan.trials]
    with open_ledger(tmp_path / "assay.db", create=True) as ledger:
        ledger.submit(start_run(ledger), plan.trials)
        leases = Leases(ledger, tmp_path / "coordinators")
        claim = ledger.claim

        def deaf(*arguments):
            claim(*arguments)
            raise LedgerUnavailable("The connection was lost.")

        with monkeypatch.context() as broken:
            broken.setattr(ledger, "claim", deaf)
            assert leases.claim(keys) is None
        assert leases.claim(keys) == set(keys)
        assert leases.claim(keys) == set(), "what is known to be ours is not given back"
        leases.release()
