"""Example records for tests of ledgers: `trial`, `attempt`, `environment` and `catalogue`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.ledger import Ledger
from db.records import (
    Attempt,
    AuditRow,
    Catalogue,
    ClaimRow,
    Curve,
    Environment,
    MethodRow,
    MetricRow,
    Outcome,
    PaperRow,
    Run,
    SubmissionRow,
    TaskRow,
    Trial,
    TrialState,
    VerdictRow,
)

START = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
ENVIRONMENT = Environment("e" * 64, {"python": "3.11.7", "hostname": "host-ä", "git_dirty": True, "threads": 1})
RUN = Run("run-1", "suite", "name: suite\n", "inline", ["assay", "run"], 4, ("nightly", "größe 2"))
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
        MetricRow("demo/t", "loss", "nats", "lower", "Loss on held-out data.", True, None, 0.0, math.inf),
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


def audit(of: Trial, number: int) -> AuditRow:
    """An audit by the attempt that `attempt(of, number=number)` makes."""
    return AuditRow(f"{of.key}#{number}", "other worker", "different", 1e-6, 1.0, "loss")


def submission(id: str, board: str = "guarded", displayed: float | None = 0.52, released: bool = True) -> SubmissionRow:
    return SubmissionRow(id, board, "ann", "thresholdout", displayed, released, 0.04, 7.0, "demo/a", "bits = 3 €")


def same(left: float, right: float) -> bool:
    """Equal bit for bit, except that zeros have no sign and nan equals nan."""
    return left == right or (math.isnan(left) and math.isnan(right))


def number(value: float | None, kind: str) -> float:
    """The number that a view's (value, kind) stands for."""
    from db.values import untyped

    return untyped(value, kind)


class Conformance:
    """What the parts of the conformance class share. Subclasses provide the fixture `open_again`."""

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
