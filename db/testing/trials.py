"""Conformance of ledgers: catalogue, runs, trials and leases."""

from __future__ import annotations

import pytest

from db.errors import LedgerError
from db.ledger import Ledger
from db.records import Catalogue, MethodRow, Run
from db.testing.examples import ENVIRONMENT, Conformance, attempt, claim, trial


class TrialConformance(Conformance):
    """Catalogue, runs, trials and leases."""

    # -- catalogue and runs ---------------------------------------------------------------------------------------------------------
    def test_catalogue_round_trip(self, started: Ledger) -> None:
        assert self.rows(started, "SELECT paper, knowledge, label FROM methods ORDER BY method") == [
            {"paper": 6, "knowledge": '["labels"]', "label": "A"},
            {"paper": None, "knowledge": "[]", "label": "B"},
        ]
        assert self.rows(started, "SELECT metric, unit, direction, is_primary, curve FROM metrics ORDER BY metric") == [
            {"metric": "loss", "unit": "nats", "direction": "lower", "is_primary": 1, "curve": None},
            {"metric": "path", "unit": "nats", "direction": "lower", "is_primary": 0, "curve": "round"},
        ]

    def test_catalogue_updates_what_is_given_and_keeps_the_rest(self, started: Ledger) -> None:
        started.write_catalogue(Catalogue(methods=[MethodRow("demo/a", "demo", 2, "A2", "", 6, [], {})]))
        assert self.rows(started, "SELECT method, version, label FROM methods ORDER BY method") == [
            {"method": "demo/a", "version": 2, "label": "A2"},
            {"method": "demo/b", "version": 1, "label": "B"},
        ]
        assert len(self.rows(started, "SELECT * FROM tasks")) == 1

    def test_edited_claim_keeps_its_old_definition(self, started: Ledger) -> None:
        for _ in range(2):
            started.write_catalogue(Catalogue(claims=[claim(margin=0.1, hash="hash-2")]))
        assert self.rows(started, "SELECT hash, definition FROM claims") == [
            {"hash": "hash-2", "definition": '{"kind":"better","margin":0.1}'}
        ]
        assert self.rows(started, "SELECT hash, definition FROM claim_revisions") == [
            {"hash": "hash-1", "definition": '{"kind":"better","margin":0.0}'}
        ]

    def test_run_has_start_and_end(self, started: Ledger) -> None:
        (row,) = self.rows(started, "SELECT run, status, finished, argv, environment FROM runs")
        assert row == {"run": "run-1", "status": "running", "finished": None, "argv": '["assay","run"]', "environment": ENVIRONMENT.hash}
        started.finish_run("run-1", "complete")
        (row,) = self.rows(started, "SELECT status, started, finished FROM runs")
        assert row["status"] == "complete"
        assert row["finished"] >= row["started"]

    def test_ending_an_unknown_run_or_with_an_unknown_status_is_refused(self, started: Ledger) -> None:
        with pytest.raises(LedgerError, match="no run nope"):
            started.finish_run("nope", "complete")
        with pytest.raises(LedgerError, match="'great' is not a status"):
            started.finish_run("run-1", "great")

    # -- trials ---------------------------------------------------------------------------------------------------------------------
    def test_submitting_twice_is_a_no_op(self, started: Ledger) -> None:
        trials = [trial(seed) for seed in range(4)]
        assert started.submit("run-1", trials) == 4
        assert started.submit("run-1", [*trials, trial(4), trial(4)]) == 1
        assert started.submit("run-1", []) == 0
        assert len(self.rows(started, "SELECT * FROM run_trials")) == 5

    def test_a_trial_belongs_to_every_run_that_planned_it(self, started: Ledger) -> None:
        started.start_run(Run("run-2", "suite", "", "ray", [], 1), ENVIRONMENT)
        started.submit("run-1", [trial(0)])
        assert started.submit("run-2", [trial(0)]) == 0
        assert [row["run"] for row in self.rows(started, "SELECT run FROM run_trials ORDER BY run")] == ["run-1", "run-2"]

    def test_submit_to_an_unknown_run_is_refused(self, started: Ledger) -> None:
        with pytest.raises(LedgerError, match="no run nope"):
            started.submit("nope", [trial(0)])
        assert started.statuses([trial(0).key]) == {}

    def test_statuses(self, started: Ledger) -> None:
        trials = [trial(seed) for seed in range(3)]
        started.submit("run-1", trials)
        started.claim("me", [trials[1].key], 60)
        started.record([attempt(trials[2])], [ENVIRONMENT])
        found = started.statuses([*(item.key for item in trials), "unknown"])
        assert {key: (status.state, dict(status.attempts), status.seconds) for key, status in found.items()} == {
            trials[0].key: ("pending", {}, None),
            trials[1].key: ("leased", {}, None),
            trials[2].key: ("done", {"ok": 1}, 2.0),
        }

    def test_many_keys(self, started: Ledger) -> None:
        trials = [trial(seed) for seed in range(12_345)]
        keys = [item.key for item in trials]
        assert started.submit("run-1", trials) == len(trials)
        assert len(started.statuses(keys)) == len(trials)
        assert started.claim("me", keys, 60) == keys

    # -- leases ---------------------------------------------------------------------------------------------------------------------
    def test_a_leased_trial_is_not_given_away(self, started: Ledger) -> None:
        keys = [item.key for item in (trial(0), trial(1), trial(2))]
        started.submit("run-1", [trial(seed) for seed in range(3)])
        assert started.claim("me", keys[:2], 60) == keys[:2]
        assert started.claim("you", [*keys, "unknown"], 60) == keys[2:]
        assert started.claim("me", keys, 60) == []

    def test_a_lease_that_ran_out_is_free(self, started: Ledger) -> None:
        started.submit("run-1", [trial(0)])
        assert started.claim("me", [trial(0).key], -1.0) == [trial(0).key]
        assert started.claim("you", [trial(0).key], 60) == [trial(0).key]
        assert started.renew("me", 60) == 0

    def test_renewing_keeps_a_lease(self, started: Ledger) -> None:
        started.submit("run-1", [trial(0), trial(1)])
        started.claim("me", [trial(0).key, trial(1).key], -1.0)
        assert started.renew("me", 60) == 2
        assert started.claim("you", [trial(0).key], 60) == []

    def test_releasing_some_and_all(self, started: Ledger) -> None:
        keys = [trial(seed).key for seed in range(3)]
        started.submit("run-1", [trial(seed) for seed in range(3)])
        started.claim("me", keys, 60)
        assert started.release("you") == 0
        assert started.release("me", keys[:1]) == 1
        assert started.release("me", []) == 0
        assert started.release("me") == 2
        assert {status.state for status in started.statuses(keys).values()} == {"pending"}

    def test_done_and_failed_trials_can_not_be_claimed_and_failed_ones_reopen(self, started: Ledger) -> None:
        trials = [trial(seed) for seed in range(3)]
        keys = [item.key for item in trials]
        started.submit("run-1", trials)
        started.record(
            [
                attempt(trials[0]),
                attempt(trials[1], outcome="error", next_state="failed"),
                attempt(trials[2], outcome="worker_lost", next_state="quarantined"),
            ],
            [ENVIRONMENT],
        )
        assert started.claim("me", keys, 60) == []
        assert started.reopen(keys) == 2
        assert started.claim("me", keys, 60) == keys[1:]
