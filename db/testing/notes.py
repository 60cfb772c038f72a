"""Conformance of ledgers: tags, blocks, bounds of metrics, audits, submissions to guarded boards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.errors import LedgerError
from db.ledger import Ledger
from db.records import AuditRow, Run
from db.testing.examples import ENVIRONMENT, RUN, Conformance, attempt, audit, submission, trial


class NoteConformance(Conformance):
    """What is kept beside trials and their results."""

    # -- tags, blocks, bounds -------------------------------------------------------------------------------------------------------
    def test_tags_of_runs(self, started: Ledger) -> None:
        started.start_run(RUN, ENVIRONMENT)
        started.start_run(Run("run-2", "suite", "", "ray", [], 1, ["nightly", "nightly"]), ENVIRONMENT)
        assert self.rows(started, "SELECT run, tag FROM tags ORDER BY run, tag") == [
            {"run": "run-1", "tag": "größe 2"},
            {"run": "run-1", "tag": "nightly"},
            {"run": "run-2", "tag": "nightly"},
        ]

    @pytest.mark.parametrize("tag", ["", "  ", "x" * 101, "line\nline", "\x00"])
    def test_a_senseless_tag_is_refused_and_the_run_with_it(self, started: Ledger, tag: str) -> None:
        with pytest.raises(LedgerError, match="can't be the tag of a run"):
            started.start_run(Run("run-2", "suite", "", "ray", [], 1, ["fine", tag]), ENVIRONMENT)
        assert self.rows(started, "SELECT run FROM runs WHERE run = 'run-2'") == []

    def test_block_of_an_interleaved_attempt(self, started: Ledger) -> None:
        started.submit("run-1", [trial(0), trial(1)])
        started.record([attempt(trial(0), block=7), attempt(trial(1))], [ENVIRONMENT])
        assert self.rows(started, "SELECT trial, block FROM attempts ORDER BY number, trial") == [
            {"trial": trial(0).key, "block": 7},
            {"trial": trial(1).key, "block": None},
        ]

    def test_bounds_of_metrics_are_null_when_infinite(self, started: Ledger) -> None:
        assert self.rows(started, "SELECT metric, low, high FROM metrics ORDER BY metric") == [
            {"metric": "loss", "low": 0.0, "high": None},
            {"metric": "path", "low": None, "high": None},
        ]

    # -- audits ---------------------------------------------------------------------------------------------------------------------
    def test_audits_know_their_trial_and_are_stored_once(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        started.record([attempt(one, {"loss": 1.0}), attempt(one, {"loss": 2.0}, number=2), attempt(one, number=3)], [ENVIRONMENT])
        same = AuditRow(f"{one.key}#3", "same worker", "bitwise", 1e-6, 0.0, None)
        gone = replace(same, deviation=math.inf)
        assert started.record_audits([audit(one, 2), same]) == 2
        assert started.record_audits([audit(one, 2), gone]) == 0
        columns = "audit, trial, task, method, condition, verdict, tolerance, deviation, metric, run, environment"
        shared = {
            "trial": one.key,
            "task": "demo/t",
            "method": "demo/a",
            "tolerance": 1e-6,
            "run": "run-1",
            "environment": ENVIRONMENT.hash,
        }
        assert self.rows(started, f"SELECT {columns} FROM audits ORDER BY audit") == [
            {"audit": f"{one.key}#2", "condition": "other worker", "verdict": "different", "deviation": 1.0, "metric": "loss", **shared},
            {"audit": f"{one.key}#3", "condition": "same worker", "verdict": "bitwise", "deviation": 0.0, "metric": None, **shared},
        ]

    def test_an_audit_of_an_unknown_attempt_is_refused_whole(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        started.record([attempt(one)], [ENVIRONMENT])
        with pytest.raises(LedgerError, match="no attempt"):
            started.record_audits([audit(one, 1), audit(one, 2)])
        assert self.rows(started, "SELECT * FROM audits") == []

    # -- submissions to guarded boards ----------------------------------------------------------------------------------------------
    def test_submissions_are_numbered_per_board(self, started: Ledger) -> None:
        before = datetime.now(UTC) - timedelta(minutes=1)
        assert started.record_submission(submission("s1")) == 1
        assert started.record_submission(submission("s2", displayed=None, released=False)) == 2
        assert started.record_submission(submission("s3", board="other")) == 1
        assert started.record_submission(submission("s1")) == 1  # a no-op
        first, second = started.submissions("guarded")
        assert replace(first, number=0, at=None) == submission("s1")
        assert replace(second, number=0, at=None) == submission("s2", displayed=None, released=False)
        assert first.at is not None
        assert second.at is not None
        assert before < first.at <= second.at < before + timedelta(minutes=2)
        assert [(row.board, row.number) for row in started.submissions()] == [("guarded", 1), ("guarded", 2), ("other", 1)]

    def test_a_submission_decided_on_an_old_history_is_refused(self, started: Ledger, open_again: Callable[[], Ledger]) -> None:
        """Two submitters who read the same history can't both spend its budget."""
        with open_again() as other:
            assert len(started.submissions("guarded")) == len(other.submissions("guarded")) == 0
            assert other.record_submission(submission("theirs"), after=0) == 1
            with pytest.raises(LedgerError, match="holds 1 submissions, not 0"):
                started.record_submission(submission("mine"), after=0)
            assert started.record_submission(submission("mine"), after=1) == 2
        assert [row.id for row in started.submissions("guarded")] == ["theirs", "mine"]
