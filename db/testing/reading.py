"""Conformance of ledgers: leaderboard, verdicts and queries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from db.errors import LedgerError, QueryRefused
from db.ledger import Ledger
from db.records import Catalogue
from db.testing.examples import ENVIRONMENT, Conformance, attempt, claim, trial, verdict
from db.views import VIEWS


class ReadingConformance(Conformance):
    """Leaderboard, verdicts and queries."""

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
