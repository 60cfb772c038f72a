"""Conformance of ledgers: attempts and what becomes of trials."""

from __future__ import annotations

import math
from datetime import datetime
from statistics import fmean, stdev
from typing import Any

import pytest

from db.errors import LedgerError
from db.ledger import Ledger
from db.records import Curve
from db.testing.examples import ENVIRONMENT, ODD_VALUES, START, Conformance, attempt, number, same, trial


class ResultConformance(Conformance):
    """Attempts and what becomes of trials."""

    # -- results --------------------------------------------------------------------------------------------------------------------
    def test_first_ok_attempt_is_the_result_and_later_ones_are_replicates(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        assert started.record([attempt(one, {"loss": 1.0})], [ENVIRONMENT]) == 1
        assert started.record([attempt(one, {"loss": 1.5}, number=2)]) == 1
        assert self.rows(started, "SELECT value, attempt FROM scores") == [{"value": 1.0, "attempt": f"{one.key}#1"}]
        (row,) = self.rows(started, "SELECT attempt, metric, value, accepted_value, accepted_kind FROM replicates")
        assert row == {"attempt": f"{one.key}#2", "metric": "loss", "value": 1.5, "accepted_value": 1.0, "accepted_kind": "finite"}
        assert self.rows(started, "SELECT n, mean, sd FROM leaderboard WHERE metric = 'loss'") == [{"n": 1, "mean": 1.0, "sd": None}]

    def test_an_attempt_seen_before_is_ignored(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        first = attempt(one, {"loss": 1.0})
        assert started.record([first, first], [ENVIRONMENT]) == 1
        assert started.record([first], [ENVIRONMENT]) == 0
        assert self.rows(started, "SELECT attempts FROM trials") == [{"attempts": 1}]
        assert self.rows(started, "SELECT n FROM leaderboard WHERE metric = 'loss'") == [{"n": 1}]

    def test_totals_do_not_depend_on_how_attempts_were_grouped(self, started: Ledger) -> None:
        trials = {method: [trial(seed, method) for seed in range(60)] for method in ("demo/alone", "demo/group", "demo/some")}
        values = [float("nan") if seed % 20 == 3 else 0.1 * seed**2 for seed in range(60)]
        for method, size in (("demo/alone", 1), ("demo/group", 60), ("demo/some", 7)):
            started.submit("run-1", trials[method])
            results = [attempt(of, {"loss": value, "more": -value}) for of, value in zip(trials[method], values, strict=True)]
            for first in range(0, 60, size):
                started.record(results[first : first + size], [ENVIRONMENT])
        finite = [value for value in values if value == value]
        for metric, sign in (("loss", 1.0), ("more", -1.0)):
            rows = self.rows(started, "SELECT n, mean, sd FROM leaderboard WHERE metric = :metric", metric=metric)
            assert [row["n"] for row in rows] == [57] * 3
            assert [row["mean"] for row in rows] == pytest.approx([sign * fmean(finite)] * 3)
            assert [row["sd"] for row in rows] == pytest.approx([stdev(finite)] * 3)

    def test_done_stays_done_whatever_arrives_late(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        started.record([attempt(one)], [ENVIRONMENT])
        started.record([attempt(one, number=2, outcome="timeout", next_state="failed", error="too slow")])
        (row,) = self.rows(started, "SELECT state, outcome, attempts, attempt, error FROM trials")
        assert row == {"state": "done", "outcome": "ok", "attempts": 2, "attempt": f"{one.key}#1", "error": "too slow"}

    def test_a_late_ok_completes_a_failed_trial(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        started.record([attempt(one, outcome="worker_lost", next_state="failed")], [ENVIRONMENT])
        started.record([attempt(one, number=2)])
        assert self.rows(started, "SELECT state, outcome FROM trials") == [{"state": "done", "outcome": "ok"}]

    def test_a_late_failure_does_not_reopen_a_failed_trial(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        started.record([attempt(one, outcome="error", next_state="failed")], [ENVIRONMENT])
        started.record([attempt(one, number=2, outcome="worker_lost", next_state="pending")])
        assert started.statuses([one.key])[one.key].state == "failed"

    def test_next_state_after_a_failure_ends_the_lease(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        started.claim("me", [one.key], 60)
        started.record([attempt(one, outcome="error", next_state="pending", error="Boom.")], [ENVIRONMENT])
        status = started.statuses([one.key])[one.key]
        assert (status.state, dict(status.attempts), status.seconds) == ("pending", {"error": 1}, None)
        assert started.claim("you", [one.key], 60) == [one.key]

    def test_attempts_are_numbered_and_keep_everything(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        texts: dict[str, Any] = {"error": "Böse.", "traceback": "Traceback\n  …", "stdout": "out", "stderr": "err"}
        started.record([attempt(one, outcome="error", next_state="pending", info={"b": 1, "a": [1.5, None]}, **texts)], [ENVIRONMENT])
        started.record([attempt(one, number=2, environment=None)])
        first, second = self.rows(started, "SELECT * FROM attempts ORDER BY number")
        assert {name: first[name] for name in texts} == texts
        assert (first["number"], first["accepted"], first["info"], first["run"]) == (1, 0, '{"a":[1.5,null],"b":1}', "run-1")
        assert (first["seconds"], first["cpu_seconds"], first["worker"], first["environment"]) == (2.0, 1.5, "worker-1", ENVIRONMENT.hash)
        assert (second["number"], second["accepted"], second["environment"], second["traceback"]) == (2, 1, None, "")
        moment = first["started"] if isinstance(first["started"], datetime) else datetime.fromisoformat(first["started"])
        assert moment == START

    def test_odd_values_survive(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        metrics = {f"m{index}": value for index, value in enumerate(ODD_VALUES)}
        series = Curve("path", [float(index) for index in range(len(ODD_VALUES))], list(ODD_VALUES))
        started.record([attempt(one, metrics, curves=[series])], [ENVIRONMENT])
        scores = {row["metric"]: number(row["value"], row["kind"]) for row in self.rows(started, "SELECT metric, value, kind FROM scores")}
        assert set(scores) == set(metrics)
        assert all(same(scores[name], value) for name, value in metrics.items())
        points = self.rows(started, "SELECT value, kind FROM curves ORDER BY step")
        assert all(same(number(**row), value) for row, value in zip(points, ODD_VALUES, strict=True))

    def test_attempts_of_one_group_may_measure_differently_much(self, started: Ledger) -> None:
        """From nothing to thousands of metrics, in a group of hundreds of numbers and in one of a few."""
        sizes = [0, 1, 3000, 3, 3, 0, 100, 1, 2]
        trials = [trial(seed) for seed in range(len(sizes))]
        started.submit("run-1", trials)
        made = [attempt(one, {f"m{index}": one.seed + index / 8 for index in range(size)}) for one, size in zip(trials, sizes, strict=True)]
        started.record(made[:7], [ENVIRONMENT])
        started.record(made[7:])
        rows = self.rows(started, "SELECT seed, metric, value FROM scores")
        assert {(row["seed"], row["metric"]): row["value"] for row in rows} == {
            (one.seed, f"m{index}"): one.seed + index / 8 for one, size in zip(trials, sizes, strict=True) for index in range(size)
        }
        assert len(rows) == sum(sizes)

    def test_odd_texts_survive(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        texts: dict[str, Any] = {
            "error": "€ 𝛼 \u202e" + "x" * 2**20,
            "traceback": "'\"; DROP TABLE trials; --\t\\",
            "stdout": "line\r\nline",
            "stderr": "%s :x ?",
        }
        started.record([attempt(one, outcome="error", next_state="failed", **texts)], [ENVIRONMENT])
        (row,) = self.rows(started, "SELECT error, traceback, stdout, stderr FROM attempts")
        assert row == texts

    def test_characters_that_no_database_holds_are_replaced(self, started: Ledger) -> None:
        one = trial(0)
        started.submit("run-1", [one])
        started.record([attempt(one, {"loss": 1}, stdout="a\x00b\udcffc", info={"k": "\x00"})], [ENVIRONMENT])
        (row,) = self.rows(started, "SELECT stdout, info FROM attempts")
        assert row == {"stdout": "a␀b?c", "info": '{"k":"␀"}'}

    def test_a_group_is_recorded_whole_or_not_at_all(self, started: Ledger) -> None:
        started.submit("run-1", [trial(0)])
        with pytest.raises(LedgerError, match="never submitted"):
            started.record([attempt(trial(0)), attempt(trial(1))], [ENVIRONMENT])
        assert self.rows(started, "SELECT * FROM attempts") == []
        assert self.rows(started, "SELECT * FROM leaderboard") == []
        assert started.record([attempt(trial(0))], [ENVIRONMENT]) == 1

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"run": "nope"}, "never started"),
            ({"environment": "nope"}, "does not hold"),
            ({"started": datetime(2026, 1, 1)}, "without a time zone"),
            ({"curves": [Curve("path", [1, 1], [1, 2])]}, "strictly increasing"),
            ({"curves": [Curve("path", [1, 2], [1])]}, "2 steps but 1 values"),
            ({"curves": [Curve("path", [1, math.inf], [1, 2])]}, "strictly increasing finite"),
            ({"curves": [Curve("path", [1, 2], [1, 2]), Curve("path", [3], [3])]}, "two curves of one metric"),
            ({"seconds": math.nan}, "durations are finite"),
            ({"cpu_seconds": math.inf}, "durations are finite"),
            ({"outcome": "great", "next_state": "failed"}, "refuses what it was given"),
            ({"outcome": "error", "next_state": "done"}, "can't become 'done'"),
            ({"outcome": "error", "next_state": "great"}, "can't become 'great'"),
            ({"block": 2**70}, "given"),
            ({"metrics": {"loss": 10**400}}, "can't hold what it was given: int too large"),
        ],
    )
    def test_senseless_attempts_are_refused(self, started: Ledger, change: dict[str, Any], complaint: str) -> None:
        started.submit("run-1", [trial(0)])
        with pytest.raises(LedgerError, match=complaint):
            started.record([attempt(trial(0), **change)], [ENVIRONMENT])
        assert self.rows(started, "SELECT * FROM attempts") == []

    def test_undeclared_metric_is_kept(self, started: Ledger) -> None:
        started.submit("run-1", [trial(0)])
        started.record([attempt(trial(0), {"surprise": 1.0})], [ENVIRONMENT])
        assert self.rows(started, "SELECT metric, unit, direction, value FROM scores") == [
            {"metric": "surprise", "unit": "", "direction": "none", "value": 1.0}
        ]

    def test_curves_are_not_scores(self, started: Ledger) -> None:
        started.submit("run-1", [trial(0)])
        started.record([attempt(trial(0), {"loss": 1.0}, curves=[Curve("path", [1, 10, 100], [3.0, 2.0, 1.0])])], [ENVIRONMENT])
        assert [row["metric"] for row in self.rows(started, "SELECT metric FROM scores")] == ["loss"]
        assert self.rows(started, "SELECT step, value FROM curves ORDER BY step") == [
            {"step": 1.0, "value": 3.0},
            {"step": 10.0, "value": 2.0},
            {"step": 100.0, "value": 1.0},
        ]
