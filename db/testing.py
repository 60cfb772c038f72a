"""The conformance tests of `Ledger`, for every implementation of it, ours and third parties'.

    class TestMyLedger(LedgerConformance):
        @pytest.fixture
        def open_again(self, tmp_path):
            return lambda: MyLedger(tmp_path)      # the same store each time, empty when the test begins

`trial`, `attempt`, `environment` and `catalogue` make records for other tests too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.errors import LedgerError, QueryRefused
from db.ledger import Ledger
from db.records import (
    Attempt,
    Catalogue,
    ClaimRow,
    Curve,
    Environment,
    MethodRow,
    MetricRow,
    Outcome,
    PaperRow,
    Run,
    TaskRow,
    Trial,
    TrialState,
    VerdictRow,
)
from db.views import VIEWS

START = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
ENVIRONMENT = Environment("e" * 64, {"python": "3.11.7", "hostname": "host-ä", "git_dirty": True, "threads": 1})
RUN = Run("run-1", "suite", "name: suite\n", "inline", ["assay", "run"], 4)
#: Values that are lost or changed somewhere unless somebody cares: the largest, the least normal, a subnormal, and the non-finite ones.
ODD_VALUES = (0.0, -1.5, 0.1, 1e308, -1.7976931348623157e308, 2.2250738585072014e-308, 5e-324, math.nan, math.inf, -math.inf)


def trial(seed: int, method: str = "demo/a", task: str = "demo/t", **method_params: Any) -> Trial:
    """A trial whose key says what it is."""
    key = f"{task}|{method}|{sorted(method_params.items())}|{seed}"
    return Trial(key, "demo", task, 1, {"size": 8}, method, 1, method_params, seed, "data-1", 1)


def attempt(
    of: Trial,
    metrics: Mapping[str, float] | None = None,
    number: int = 1,
    outcome: Outcome = "ok",
    next_state: TrialState = "done",
    run: str = RUN.id,
    curves: Sequence[Curve] = (),
    **more: Any,
) -> Attempt:
    """An attempt whose id follows from the trial and `number`."""
    metrics = {"loss": float(of.seed)} if metrics is None and outcome == "ok" else metrics or {}
    values: dict[str, Any] = {
        "started": START,
        "finished": START + timedelta(seconds=2),
        "seconds": 2.0,
        "cpu_seconds": 1.5,
        "worker": "worker-1",
        "environment": ENVIRONMENT.hash,
        **more,
    }
    return Attempt(
        f"{of.key}#{number}",
        of.key,
        run,
        outcome,
        metrics=metrics,
        curves=curves,
        next_state="done" if outcome == "ok" else next_state,
        **values,
    )


def catalogue() -> Catalogue:
    """One task with a scalar and a series, two methods, a paper, a claim."""
    metrics = [
        MetricRow("demo/t", "loss", "nats", "lower", "Loss on held-out data.", True, None),
        MetricRow("demo/t", "path", "nats", "lower", "Loss after each round.", False, "round"),
    ]
    return Catalogue(
        tasks=[TaskRow("demo/t", "demo", 1, "Demo", "A demonstration.", {"type": "object"}, metrics)],
        methods=[
            MethodRow("demo/a", "demo", 1, "A", "Method A.", 6, ["labels"], {}),
            MethodRow("demo/b", "demo", 1, "B", "", None, [], {}),
        ],
        papers=[PaperRow(6, "A paper", "demo", "core", "loss")],
        claims=[claim()],
    )


def claim(margin: float = 0.0, hash: str = "hash-1") -> ClaimRow:
    return ClaimRow("demo-claim", 6, "demo", "A beats B.", "demo/t", "loss", {"kind": "better", "margin": margin}, hash)


def verdict(
    verdict: str = "supported", claim_hash: str = "hash-1", trials: Sequence[str] = ("b", "a"), high: float = math.inf
) -> VerdictRow:
    return VerdictRow("demo-claim", claim_hash, verdict, -0.5, -0.7, high, 5, 0.01, "paired t", {"note": "é"}, trials)


def same(left: float, right: float) -> bool:
    """Equal bit for bit, except that zeros have no sign and nan equals nan."""
    return left == right or (math.isnan(left) and math.isnan(right))


def number(value: float | None, kind: str) -> float:
    """The number that a view's (value, kind) stands for."""
    from db.values import untyped

    return untyped(value, kind)


class LedgerConformance:
    """Every promise of `db.ledger.Ledger`. Subclasses provide the fixture `open_again`."""

    @pytest.fixture
    def open_again(self) -> Callable[[], Ledger]:
        """Opens the ledger under test, which is empty when the test begins; each call gives another object on the same store."""
        raise NotImplementedError("override the fixture `open_again`")

    @pytest.fixture
    def ledger(self, open_again: Callable[[], Ledger]) -> Iterator[Ledger]:
        with open_again() as opened:
            yield opened

    @pytest.fixture
    def started(self, ledger: Ledger) -> Ledger:
        """With a catalogue and a run."""
        ledger.write_catalogue(catalogue())
        ledger.start_run(RUN, ENVIRONMENT)
        return ledger

    def rows(self, ledger: Ledger, sql: str, **params: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ledger.query(sql, params or None).to_pylist()
        return rows

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

    # -- leaderboard ----------------------------------------------------------------------------------------------------------------
    def test_leaderboard_equals_the_aggregate_of_scores(self, started: Ledger) -> None:
        trials = [trial(seed, method, bits=bits) for seed in range(7) for method in ("demo/a", "demo/b") for bits in (2, 3)]
        started.submit("run-1", trials)
        values = {item.key: math.sin(17 * index) * 10 ** (index % 5) for index, item in enumerate(trials)}
        for start in range(0, len(trials), 3):  # groups that cut across seeds
            started.record([attempt(item, {"loss": values[item.key]}) for item in trials[start : start + 3]], [ENVIRONMENT])
        board = self.rows(started, "SELECT method, method_params, n, mean, sd, min, max, nonfinite FROM leaderboard")
        assert len(board) == 4
        for row in board:
            mine = [
                values[t.key]
                for t in trials
                if t.method == row["method"] and f'{{"bits":{t.method_params["bits"]}}}' == row["method_params"]
            ]
            mean = math.fsum(mine) / 7
            assert (row["n"], row["min"], row["max"], row["nonfinite"]) == (7, min(mine), max(mine), 0)
            assert row["mean"] == pytest.approx(mean, rel=1e-12)
            assert row["sd"] == pytest.approx(math.sqrt(math.fsum((v - mean) ** 2 for v in mine) / 6), rel=1e-12)

    def test_leaderboard_counts_failures_and_non_finite_values(self, started: Ledger) -> None:
        trials = [trial(seed) for seed in range(4)]
        other = trial(0, "demo/b")
        started.submit("run-1", [*trials, other])
        started.record(
            [
                attempt(trials[0], {"loss": 1.0}),
                attempt(trials[1], {"loss": math.nan}),
                attempt(trials[2], outcome="error", next_state="failed"),
                attempt(trials[3], outcome="error", next_state="pending"),
                attempt(other, outcome="oom", next_state="quarantined"),
            ],
            [ENVIRONMENT],
        )
        assert self.rows(started, "SELECT method, metric, n, mean, nonfinite, failed FROM leaderboard ORDER BY method") == [
            {"method": "demo/a", "metric": "loss", "n": 1, "mean": 1.0, "nonfinite": 1, "failed": 1},
            {"method": "demo/b", "metric": "loss", "n": 0, "mean": None, "nonfinite": 0, "failed": 1},
        ]

    def test_leaderboard_survives_huge_values(self, started: Ledger) -> None:
        trials = [trial(seed) for seed in range(4)]
        started.submit("run-1", trials)
        for item, value in zip(trials, (1.7e308, 1.7e308, -1.7e308, 1.7e308), strict=True):
            started.record([attempt(item, {"loss": value})], [ENVIRONMENT])
        (row,) = self.rows(started, "SELECT n, mean, sd, min, max FROM leaderboard")
        assert row == {"n": 4, "mean": pytest.approx(0.85e308), "sd": None, "min": -1.7e308, "max": 1.7e308}

    def test_other_data_or_protocol_is_another_row(self, started: Ledger) -> None:
        first = trial(0)
        second = replace(first, key="other", data_fingerprint="data-2")
        started.submit("run-1", [first, second])
        started.record([attempt(first), attempt(second)], [ENVIRONMENT])
        assert [row["n"] for row in self.rows(started, "SELECT n FROM leaderboard ORDER BY data_fingerprint")] == [1, 1]

    # -- verdicts -------------------------------------------------------------------------------------------------------------------
    def test_newest_verdict_is_current_and_an_equal_one_is_not_repeated(self, started: Ledger) -> None:
        started.record_verdicts([verdict("inconclusive")])
        started.record_verdicts([verdict("supported"), verdict("supported", trials=("a", "b"))])
        (row,) = self.rows(started, "SELECT verdict, effect, low, high, n, p_value, test, detail, trials FROM claims")
        assert row == {
            "verdict": "supported",
            "effect": -0.5,
            "low": -0.7,
            "high": math.inf,
            "n": 5,
            "p_value": 0.01,
            "test": "paired t",
            "detail": '{"note":"é"}',
            "trials": '["a","b"]',
        }
        assert [row["verdict"] for row in self.rows(started, "SELECT verdict FROM verdicts ORDER BY current")] == [
            "inconclusive",
            "supported",
        ]

    def test_a_verdict_on_an_older_definition_is_not_current(self, started: Ledger) -> None:
        started.record_verdicts([verdict()])
        started.write_catalogue(Catalogue(claims=[claim(margin=0.1, hash="hash-2")]))
        assert self.rows(started, "SELECT verdict FROM claims") == [{"verdict": None}]
        assert self.rows(started, "SELECT claim_hash, current FROM verdicts") == [{"claim_hash": "hash-1", "current": 0}]

    def test_a_verdict_on_an_unknown_claim_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(LedgerError, match="no claim demo-claim"):
            ledger.record_verdicts([verdict()])

    # -- reading --------------------------------------------------------------------------------------------------------------------
    @pytest.mark.parametrize("name", list(VIEWS))
    def test_every_column_of_every_view_is_documented_and_typed(self, started: Ledger, name: str) -> None:
        import pyarrow as pa

        table = started.query(f"SELECT * FROM {name}")
        assert table.column_names == list(VIEWS[name].columns)
        assert VIEWS[name].doc.strip()
        for column, described in VIEWS[name].columns.items():
            assert described.doc.strip()
            arrow = table.schema.field(column).type
            wanted = {"integer": pa.int64(), "flag": pa.int64(), "real": pa.float64()}.get(described.type, pa.string())
            assert arrow == wanted or (described.type == "time" and pa.types.is_timestamp(arrow)), (column, arrow)

    def test_query_has_named_parameters(self, started: Ledger) -> None:
        started.submit("run-1", [trial(0), trial(1)])
        found = self.rows(
            started, "SELECT seed, 'a:b' AS text FROM trials WHERE seed = :seed AND method = :method", seed=1, method="demo/a"
        )
        assert found == [{"seed": 1, "text": "a:b"}]
        with pytest.raises(QueryRefused):
            started.query("SELECT :missing", {"other": 1})

    @pytest.mark.parametrize("sql", ["DELETE FROM trials", "SELECT 1; SELECT 2", "DROP TABLE trial", "SELECT * FROM trial", "", "nonsense"])
    def test_query_only_reads_the_public_views(self, started: Ledger, sql: str) -> None:
        with pytest.raises(QueryRefused):
            started.query(sql)
        assert self.rows(started, "SELECT count(*) AS n FROM trials") == [{"n": 0}]

    def test_another_object_sees_what_was_committed(self, started: Ledger, open_again: Callable[[], Ledger]) -> None:
        started.submit("run-1", [trial(0)])
        with open_again() as other:
            assert other.statuses([trial(0).key])[trial(0).key].state == "pending"
            other.claim("other", [trial(0).key], 60)
            assert started.claim("me", [trial(0).key], 60) == []
            other.record([attempt(trial(0))], [ENVIRONMENT])
            assert started.record([attempt(trial(0))], [ENVIRONMENT]) == 0
