"""Group commit and spool, on a real SQLite ledger and with a ledger that goes away."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime

import pytest

from db import open_ledger
from db.errors import LedgerCorrupt, LedgerError, LedgerUnavailable
from db.records import Attempt
from db.spool import Spool
from harness.cli.execute import spool_folder
from harness.recorder import RETRY_SECONDS, Recorder, ingest
from tests.harness.toys import start_run, toy_plan, toys

ENVIRONMENT = {"python": "3", "packages": {}}


class Flaky:
    """A real ledger whose cable can be pulled."""

    def __init__(self, ledger) -> None:
        self.ledger, self.there, self.commits = ledger, True, 0

    def record(self, attempts, environments=()):
        if not self.there:
            raise LedgerUnavailable("The ledger is not to be reached.")
        self.commits += 1
        return self.ledger.record(attempts, environments)


@pytest.fixture
def plan():
    return toy_plan(toys("ok", range(30)))


@pytest.fixture
def ledger(tmp_path, plan):
    with open_ledger(tmp_path / "assay.db", create=True) as ledger:
        run = start_run(ledger)
        ledger.submit(run, plan.trials)
        yield ledger


def make_recorder(ledger, tmp_path, **options):
    clock = [0.0]
    notices: list[str] = []
    flaky = Flaky(ledger)
    recorder = Recorder(flaky, Spool(tmp_path / "spool"), clock=lambda: clock[0], on_trouble=notices.append, **options)
    return recorder, flaky, clock, notices


def add(recorder, plan, number):
    now = datetime.now(UTC)
    environment = recorder.environment(ENVIRONMENT)
    recorder.add(
        Attempt(f"a{number}", plan.trials[number].key, "run-1", "ok", now, now, 0.1, 0.1, "w", environment, {"score": float(number)})
    )


def accepted(ledger):
    return ledger.query("SELECT COUNT(*) AS n FROM scores").to_pylist()[0]["n"]


def test_a_group_is_committed_by_size(ledger, plan, tmp_path):
    recorder, flaky, _, _ = make_recorder(ledger, tmp_path, group_attempts=10)
    for number in range(25):
        add(recorder, plan, number)
    assert (flaky.commits, accepted(ledger), recorder.recorded) == (2, 20, 20)
    recorder.close()
    assert not recorder.spooling
    assert (flaky.commits, accepted(ledger)) == (3, 25)


def test_a_group_is_committed_by_age(ledger, plan, tmp_path):
    recorder, flaky, clock, _ = make_recorder(ledger, tmp_path, group_seconds=1.0)
    add(recorder, plan, 0)
    clock[0] = 0.5
    recorder.tick()
    assert flaky.commits == 0
    clock[0] = 1.0
    recorder.tick()
    assert (flaky.commits, accepted(ledger)) == (1, 1)


def test_an_unreachable_ledger_loses_nothing_and_is_tried_again(ledger, plan, tmp_path):
    recorder, flaky, clock, notices = make_recorder(ledger, tmp_path, group_attempts=5)
    for number in range(5):
        add(recorder, plan, number)
    flaky.there = False
    for number in range(5, 15):
        add(recorder, plan, number)
    assert accepted(ledger) == 5
    assert len(list((tmp_path / "spool").iterdir())) == 2
    flaky.there = True
    recorder.tick()
    assert accepted(ledger) == 5, "not before the pause is over"
    clock[0] += RETRY_SECONDS
    recorder.tick()
    assert accepted(ledger) == 15
    assert not Spool(tmp_path / "spool").files()
    assert len(notices) == 2
    for number in range(15, 20):
        add(recorder, plan, number)
    assert accepted(ledger) == 20


def test_what_stays_in_the_spool_is_ingested_by_the_next_run(ledger, plan, tmp_path):
    recorder, flaky, _, _ = make_recorder(ledger, tmp_path)
    flaky.there = False
    for number in range(7):
        add(recorder, plan, number)
    recorder.close()
    assert recorder.spooling
    assert accepted(ledger) == 0
    assert Spool(tmp_path / "spool").ingest(ledger) == 7
    assert accepted(ledger) == 7
    assert ledger.query("SELECT DISTINCT environment FROM attempts").num_rows == 1


def test_without_ledger_and_without_spool_results_wait_in_memory(ledger, plan, tmp_path, monkeypatch):
    recorder, flaky, clock, notices = make_recorder(ledger, tmp_path, group_attempts=3)
    flaky.there = False
    (tmp_path / "spool").write_text("a file where the folder should be")
    tries = []
    write = recorder._spool.write
    monkeypatch.setattr(recorder._spool, "write", lambda *group: tries.append(len(group[0])) or write(*group))
    for number in range(6):
        add(recorder, plan, number)
    assert tries == [3], "not with each attempt"
    clock[0] += 1.0
    recorder.tick()
    assert tries == [3, 6]
    assert sum("in memory" in notice for notice in notices) == 1
    with pytest.raises(LedgerUnavailable):
        recorder.close()
    flaky.there = True
    clock[0] += RETRY_SECONDS
    os.unlink(tmp_path / "spool")
    recorder.close()
    assert not recorder.spooling
    assert accepted(ledger) == 6


@pytest.mark.parametrize("error", [LedgerCorrupt("The ledger is damaged."), ZeroDivisionError(), KeyboardInterrupt()])
def test_what_ends_the_run_does_not_end_what_it_measured(ledger, plan, tmp_path, error):
    recorder, flaky, _, _ = make_recorder(ledger, tmp_path)
    for number in range(4):
        add(recorder, plan, number)

    def fail(*group):
        raise error

    flaky.record = fail
    with pytest.raises(type(error)):
        recorder.flush()
    recorder.close()  # nothing is left to store
    assert Spool(tmp_path / "spool").ingest(ledger) == 4


def test_people_hear_of_results_that_were_set_aside(ledger, plan, tmp_path):
    recorder, flaky, clock, notices = make_recorder(ledger, tmp_path, group_attempts=1)
    flaky.there = False
    add(recorder, plan, 0)
    (group,) = (tmp_path / "spool").iterdir()
    group.write_bytes(group.read_bytes()[:-1])
    flaky.there = True
    clock[0] += RETRY_SECONDS
    recorder.tick()
    assert any("damaged" in notice and f"set aside as {group.with_suffix('.rejected')}" in notice for notice in notices)


def test_ledgers_do_not_share_a_spool():
    urls = ["a.db", "b.db", "postgresql://ann@host/a", "postgresql://ann@host/b", "postgresql://ann@other/a"]
    assert len({spool_folder(url) for url in urls}) == len(urls)
    assert spool_folder("sqlite:///a.db") == spool_folder("a.db") == "a.db.spool"
    assert spool_folder("postgresql://ann:one@host/a") == spool_folder("postgresql://ann:two@host/a")


def test_a_group_that_the_ledger_refuses_ends_the_run_but_is_kept_and_named(ledger, plan, tmp_path):
    recorder, _, _, _ = make_recorder(ledger, tmp_path)
    for number in range(3):
        add(recorder, plan, number)
    recorder.add(dataclasses.replace(recorder._attempts[0], id="a3", trial="f" * 64))
    with pytest.raises(LedgerError, match="was never submitted"):
        recorder.flush()
    recorder.close()
    spool, said = Spool(tmp_path / "spool"), []
    assert len(spool.files()) == 1
    assert ingest(spool, ledger, said.append) == 0
    (aside,) = (tmp_path / "spool").glob("*.rejected")
    assert len(said) == 1
    assert "was never submitted" in said[0]
    assert f"It is set aside as {aside}." in said[0]
    assert len(spool.read(aside)[0]) == 4


def test_an_environment_is_hashed_by_its_content(ledger, tmp_path):
    recorder, *_ = make_recorder(ledger, tmp_path)
    assert recorder.environment({"a": 1, "b": 2}) == recorder.environment({"b": 2, "a": 1}) != recorder.environment({"a": 1})
