"""Random interleavings of everything that coordinators do, against a small model of what must be true. Both databases."""

from __future__ import annotations

import math
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from db import open_ledger
from db.bundle import export_bundle, import_bundle
from db.errors import LedgerError
from db.records import Attempt, Curve, Run
from db.testing import ENVIRONMENT, attempt, trial

SEEDS = range(8)
OWNERS = ("ann", "bob")
seeds = st.sampled_from(SEEDS)
groups = st.lists(seeds, min_size=1, max_size=4, unique=True)
owners = st.sampled_from(OWNERS)
values = st.floats(-100, 100) | st.sampled_from([math.nan, math.inf, -math.inf])
FAILURES = {"error": "pending", "timeout": "failed", "worker_lost": "quarantined", "cancelled": "pending"}


class Crash(Exception):
    """A process that dies inside a transaction."""


class LedgerMachine(RuleBasedStateMachine):
    """The model: per trial its state, owner and attempts, in plain dictionaries."""

    url_maker: Any = None
    template: Any = None  #: an empty SQLite ledger

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="assay-machine-"))
        self.url = self.url_maker()
        self.ledger: Any = open_ledger(self.url)
        self.ledger.start_run(Run("run-1", "suite", "", "inline", [], 1), ENVIRONMENT)
        self.states: dict[int, str] = {}
        self.owners: dict[int, str] = {}
        self.expired: set[int] = set()
        self.attempts: dict[str, tuple[int, str, float | None]] = {}  #: by id: seed, outcome, value
        self.accepted: dict[int, str] = {}
        self.count = 0

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what coordinators do -------------------------------------------------------------------------------------------------------
    @initialize(group=groups)
    def submit_first(self, group: list[int]) -> None:
        self.submit(group)

    @rule(group=groups)
    def submit(self, group: list[int]) -> None:
        new = [seed for seed in group if seed not in self.states]
        assert self.ledger.submit("run-1", [trial(seed) for seed in group]) == len(new)
        self.states |= dict.fromkeys(new, "pending")

    @rule(owner=owners, group=groups, expired=st.booleans())
    def claim(self, owner: str, group: list[int], expired: bool) -> None:
        free = [s for s in group if self.states.get(s) == "pending" or (self.states.get(s) == "leased" and s in self.expired)]
        got = self.ledger.claim(owner, [trial(seed).key for seed in group], -5.0 if expired else 3600.0)
        assert got == [trial(seed).key for seed in free]
        for seed in free:
            self.states[seed], self.owners[seed] = "leased", owner
            (self.expired.add if expired else self.expired.discard)(seed)

    @rule(owner=owners)
    def renew(self, owner: str) -> None:
        mine = [seed for seed, holder in self.owners.items() if holder == owner]
        assert self.ledger.renew(owner, 3600.0) == len(mine)
        self.expired -= set(mine)

    @rule(owner=owners, group=st.none() | groups)
    def release(self, owner: str, group: list[int] | None) -> None:
        mine = [seed for seed, holder in self.owners.items() if holder == owner and (group is None or seed in group)]
        assert self.ledger.release(owner, None if group is None else [trial(seed).key for seed in group]) == len(mine)
        for seed in mine:
            self._move(seed, "pending")

    @rule(group=groups)
    def reopen(self, group: list[int]) -> None:
        closed = [seed for seed in group if self.states.get(seed) in ("failed", "quarantined")]
        assert self.ledger.reopen([trial(seed).key for seed in group]) == len(closed)
        for seed in closed:
            self._move(seed, "pending")

    @rule(data=st.data(), number=st.integers(1, 4))
    def record(self, data: st.DataObject, number: int) -> None:
        """A group of attempts of any known trials, whatever their state: late, repeated, of leased and of finished ones."""
        group = [self._attempt(data) for _ in range(number) if self.states]
        assert self.ledger.record(group, [ENVIRONMENT]) == len(group)
        for one in group:
            self._learn(one)
        if group:
            assert self.ledger.record(group) == 0  # the same again is nothing

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def record_fails_as_a_whole(self, data: st.DataObject) -> None:
        with pytest.raises(LedgerError):
            self.ledger.record([self._attempt(data), attempt(trial(999), run="run-1")], [ENVIRONMENT])

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def crash_while_recording(self, data: st.DataObject) -> None:
        """The process dies between the last statement and the commit; another opens the ledger."""
        from db import recording

        group = [self._attempt(data)]
        with suppress(Crash), self.ledger.transaction() as connection:
            fresh = recording.unseen(self.ledger.backend, connection, group)
            recording.store_attempts(self.ledger.backend, self.ledger.dictionaries, connection, fresh, 10**6)
            raise Crash
        self.reopen_ledger()

    @rule()
    def reopen_ledger(self) -> None:
        self.ledger.close()
        self.ledger = open_ledger(self.url)

    @rule(group=groups, value=values, failed=st.booleans())
    def import_from_elsewhere(self, group: list[int], value: float, failed: bool) -> None:
        """Another machine ran some of the trials, and its bundle is imported twice."""
        self.count += 1
        bundle = self.folder / f"bundle{self.count}"
        run = f"elsewhere-{self.count}"
        outcome = "error" if failed else "ok"
        theirs = [self._make(seed, outcome, value, run) for seed in group]
        with open_ledger(shutil.copy(self.template, self.folder / f"other{self.count}.db")) as other:
            other.start_run(Run(run, "suite", "", "inline", [], 1), ENVIRONMENT)
            other.submit(run, [trial(seed) for seed in group])
            other.record(theirs, [ENVIRONMENT])
            export_bundle(other, bundle)  # type: ignore[arg-type]
        new = [seed for seed in group if seed not in self.states]
        done = import_bundle(self.ledger, bundle)
        assert (done.trials, done.attempts) == (len(new), len(group))
        again = import_bundle(self.ledger, bundle)
        assert (again.trials, again.attempts, again.measurements, again.curve_points) == (0, 0, 0, 0)
        self.states |= dict.fromkeys(new, "pending")
        for one in theirs:
            before = self.states[self._seed(one)]
            self._learn(one)
            if failed and self._seed(one) not in new:
                self.states[self._seed(one)] = before  # another machine's failure does not move a trial of ours

    # -- the model ------------------------------------------------------------------------------------------------------------------
    def _make(self, seed: int, outcome: str, value: float, run: str) -> Attempt:
        self.count += 1
        metrics = {"loss": value, "other": float(seed)} if outcome == "ok" else {}
        curves = [Curve("path", [1.0, 2.0], [value, 0.0])] if outcome == "ok" else []
        return attempt(trial(seed), metrics, self.count, outcome, FAILURES.get(outcome, "done"), run, curves)  # type: ignore[arg-type]

    def _attempt(self, data: st.DataObject) -> Attempt:
        outcome = data.draw(st.sampled_from(["ok", "ok", *FAILURES]))
        return self._make(data.draw(st.sampled_from(sorted(self.states))), outcome, data.draw(values), "run-1")

    @staticmethod
    def _seed(one: Attempt) -> int:
        return int(one.trial.rsplit("|", 1)[1])

    def _learn(self, one: Attempt) -> None:
        seed = self._seed(one)
        self.attempts[one.id] = (seed, one.outcome, one.metrics.get("loss"))
        if one.outcome == "ok":
            if seed not in self.accepted:
                self.accepted[seed] = one.id
                self._move(seed, "done")
        elif self.states[seed] in ("pending", "leased") or (self.states[seed] == "failed" and one.next_state == "quarantined"):
            self._move(seed, one.next_state)

    def _move(self, seed: int, state: str) -> None:
        self.states[seed] = state
        self.owners.pop(seed, None)
        self.expired.discard(seed)

    # -- what must be true ----------------------------------------------------------------------------------------------------------
    @invariant()
    def trials_agree(self) -> None:
        rows = self.ledger.surface.rows("SELECT trial, state, attempt, attempts, outcome FROM trials", None, 60)[1]
        found = {int(key.rsplit("|", 1)[1]): row for key, *row in rows}
        assert {seed: row[0] for seed, row in found.items()} == self.states
        assert {seed: row[1] for seed, row in found.items() if row[1]} == self.accepted
        for seed, (_, accepted, number, outcome) in found.items():
            assert number == sum(owner == seed for owner, _, _ in self.attempts.values())
            assert (outcome == "ok") == (accepted is not None)

    @invariant()
    def attempts_never_vanish_and_one_is_accepted(self) -> None:
        rows = self.ledger.surface.rows("SELECT attempt, trial, outcome, accepted, number FROM attempts", None, 60)[1]
        assert {row[0]: row[2] for row in rows} == {key: outcome for key, (_, outcome, _) in self.attempts.items()}
        assert {int(row[1].rsplit("|", 1)[1]): row[0] for row in rows if row[3]} == self.accepted
        numbers: dict[str, list[int]] = {}
        for row in rows:
            numbers.setdefault(row[1], []).append(row[4])
        assert all(sorted(found) == list(range(1, len(found) + 1)) for found in numbers.values())

    @invariant()
    def views_agree_with_each_other(self) -> None:
        scores = self.ledger.surface.rows("SELECT attempt, value, kind FROM scores WHERE metric = 'loss'", None, 60)[1]
        assert {row[0] for row in scores} == set(self.accepted.values())
        finite = [row[1] for row in scores if row[2] == "finite"]
        board = self.ledger.surface.rows("SELECT n, nonfinite, mean, min, max FROM leaderboard WHERE metric = 'loss'", None, 60)[1]
        if scores:
            n, nonfinite, mean, low, high = board[0]
            assert (n, nonfinite) == (len(finite), len(scores) - len(finite))
            if finite:
                assert mean == pytest.approx(math.fsum(finite) / n, abs=1e-9)
                assert (low, high) == (min(finite), max(finite))
        replicates = self.ledger.surface.rows("SELECT DISTINCT attempt FROM replicates", None, 60)[1]
        ok = {key for key, (_, outcome, _) in self.attempts.items() if outcome == "ok"}
        assert {key for (key,) in replicates} == ok - set(self.accepted.values())
        points = self.ledger.surface.rows("SELECT count(*) FROM curves", None, 60)[1]
        assert points == [(2 * len(self.accepted),)]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_any_interleaving_keeps_the_ledger_true(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    _run(database, request, tmp_path, 12 if database == "sqlite" else 6)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_many_interleavings_keep_the_ledger_true(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """About a second per interleaving, a third of it in exports and imports: two minutes for both databases."""
    _run(database, request, tmp_path, 80 if database == "sqlite" else 40, steps=40)


def _run(database: str, request: pytest.FixtureRequest, tmp_path: Path, examples: int, steps: int = 25) -> None:
    template: Path = request.getfixturevalue("sqlite_template")
    if database == "sqlite":
        numbers = iter(range(10**6))
        maker = lambda self: str(shutil.copy(template, tmp_path / f"machine{next(numbers)}.db"))  # noqa: E731
    else:
        server = request.getfixturevalue("postgres")
        maker = lambda self: server.new_database("assay_template")  # noqa: E731
    machine = type("Machine", (LedgerMachine,), {"url_maker": maker, "template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
        ),
    )
