"""Full disks, damaged files, servers that go away: one clear sentence, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db import admin, open_ledger
from db.bundle import export_bundle
from db.errors import LedgerCorrupt, LedgerError, LedgerUnavailable, QueryRefused, SchemaMismatch
from db.records import Curve, Environment
from db.spool import Spool
from db.testing import ENVIRONMENT, ODD_VALUES, RUN, attempt, catalogue, same, trial


def start(ledger: Any, seeds: int) -> list[Any]:
    """Catalogue, run and trials."""
    ledger.write_catalogue(catalogue())
    ledger.start_run(RUN, ENVIRONMENT)
    trials = [trial(seed) for seed in range(seeds)]
    ledger.submit(RUN.id, trials)
    return trials


# -- opening ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("read_only", [True, False])
def test_a_missing_file_is_named_with_what_makes_one(tmp_path: Path, read_only: bool) -> None:
    with pytest.raises(LedgerUnavailable, match=r"There is no ledger at .*missing\.db; `assay run SUITE` creates one"):
        open_ledger(tmp_path / "missing.db", read_only=read_only)
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DB", str(tmp_path / "mine.db"))
    open_ledger(create=True).close()
    assert (tmp_path / "mine.db").exists()
    monkeypatch.delenv("ASSAY_DB")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerUnavailable, match=r"no ledger at assay\.db"):
        open_ledger()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://host/db", "mysql:// is not a ledger's URL"),
        ("postgresql://nobody@127.0.0.1:1/none", "can't be reached"),
        ("/proc/nowhere/assay.db", "can't be created: its folder /proc/nowhere does not exist"),
        ("/tmp", "/tmp is a folder, not a ledger"),
    ],
)
def test_urls_that_lead_nowhere(url: str, sentence: str) -> None:
    with pytest.raises(LedgerUnavailable, match=sentence):
        open_ledger(url, create=True)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        open_ledger("postgresql://me:hunter2@127.0.0.1:1/none", read_only=True)
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_database_without_a_ledger(postgres: Any, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="holds no ledger yet"):
        open_ledger(postgres.new_database())
    with pytest.raises(LedgerUnavailable, match="does not exist"):
        open_ledger(postgres.url("nobody_made_this"), create=True)


# -- damaged files ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\x00", b"hello world\n" * 1000], ids=["empty", "byte", "header", "text"])
def test_something_else_than_a_ledger(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(content)
    for read_only in (True, False):
        with pytest.raises(LedgerCorrupt, match=r"other\.db"):
            open_ledger(path, read_only=read_only)
    assert path.read_bytes() == content


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_reported_as_damaged(tmp_path: Path, sqlite_template: Path, fraction: float) -> None:
    path = Path(shutil.copy(sqlite_template, tmp_path / "cut.db"))
    with open_ledger(path) as ledger:
        trials = start(ledger, 300)
        ledger.record([attempt(item, {f"m{index}": 1.0 for index in range(20)}) for item in trials], [ENVIRONMENT])
    admin.vacuum(path)
    for leftover in tmp_path.glob("cut.db-*"):
        leftover.unlink()
    os.truncate(path, int(path.stat().st_size * fraction))

    def use() -> None:
        with open_ledger(path) as ledger:
            ledger.query("SELECT * FROM attempts")
            ledger.query("SELECT * FROM scores")
            ledger.record([attempt(trial(1), number=2)], [ENVIRONMENT])

    with pytest.raises(LedgerCorrupt, match=r"cut\.db is damaged"):
        use()


# -- schema versions ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("revision", "sentence"),
    [("9999", "newer than this code's .*pip install --upgrade"), ("0000", "newer than this code's")],
)
def test_a_schema_of_another_version(new_url: Callable[[], str], revision: str, sentence: str) -> None:
    url = new_url()
    with open_ledger(url) as ledger, ledger.backend.write() as connection:  # type: ignore[union-attr]
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    for read_only in (True, False):
        with pytest.raises(SchemaMismatch, match=sentence):
            open_ledger(url, read_only=read_only)


# -- a full disk --------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_ledger_on_a_read_only_file_system_can_be_read_and_copied(small_disk: Path, tmp_path: Path) -> None:
    path = small_disk / "ledger.db"
    with open_ledger(path, create=True) as ledger:
        trials = start(ledger, 3)
        ledger.record([attempt(trials[0])], [ENVIRONMENT])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with open_ledger(path, read_only=True) as reader:
        assert reader.query("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 3}]
    assert admin.current(path).revision == admin.HEAD
    assert admin.stats(path)["trial"] == 3
    with open_ledger(path) as ledger:
        assert ledger.statuses([trials[0].key])[trials[0].key].state == "done"
        assert export_bundle(ledger, tmp_path / "bundle")["trials"] == 3  # type: ignore[arg-type]
        with pytest.raises(LedgerUnavailable, match="can't be written; check the permissions"):
            ledger.record([attempt(trials[1])], [ENVIRONMENT])
    with open_ledger(admin.backup(path, tmp_path / "copy.db")) as copy:
        assert copy.record([attempt(trials[1])], [ENVIRONMENT]) == 1
    for refused in (lambda: admin.backup(path), lambda: admin.vacuum(path), lambda: open_ledger(small_disk / "new.db", create=True)):
        with pytest.raises(LedgerUnavailable, match=r"can't be written|is not writable"):
            refused()


def test_a_frozen_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not write beside a ledger reads it without the log that its owner, who has just come back, shares with others."""
    path = tmp_path / "ledger.db"
    with open_ledger(path, create=True) as owner:
        trials = start(owner, 2)
    with open_ledger(path, read_only=True) as reader, monkeypatch.context() as patch:
        patch.setattr("db.backends.sqlite_file.frozen", lambda path: True)
        pieces = reader.surface.batches("SELECT trial FROM trials", None, 60, 1)  # type: ignore[union-attr]
        next(pieces)
        patch.undo()
        with open_ledger(path) as again:
            again.record([attempt(trials[0])], [ENVIRONMENT])
        with pytest.raises(LedgerUnavailable, match="changed while it was read"):
            list(pieces)


def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    path = small_disk / "ledger.db"
    spool = Spool(tmp_path / "spool")
    recorded, sentence = 0, "the disk never filled up"
    with open_ledger(path, create=True) as ledger:
        trials = start(ledger, 200)
        groups = [[attempt(item, stdout="x" * 10_000) for item in trials[first : first + 20]] for first in range(0, 200, 20)]
        (small_disk / "filler").write_bytes(b"x" * 2 * 2**20)
        for number, group in enumerate(groups):
            try:
                recorded += ledger.record(group, [ENVIRONMENT])
            except LedgerUnavailable as error:
                sentence = str(error)
                for rest in groups[number:]:
                    spool.write(rest, [ENVIRONMENT])
                break
        assert "disk is full" in sentence
        assert ledger.query("SELECT count(*) AS n FROM attempts").to_pylist() == [{"n": recorded}]  # whole groups, and readable
        with pytest.raises(LedgerUnavailable, match="can't be spooled"):
            Spool(small_disk / "spool").write(groups[-1] * 30, [ENVIRONMENT])
        assert [path.name for path in (small_disk / "spool").iterdir()] == []
        (small_disk / "filler").unlink()
        assert spool.ingest(ledger) == 200 - recorded
        assert ledger.query("SELECT n FROM leaderboard WHERE metric = 'loss'").to_pylist() == [{"n": 200}]
    assert spool.files() == []


def test_an_unwritable_folder(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = "/sys/assay.db"  # root may write anywhere but here
    else:
        (tmp_path / "closed").mkdir(mode=0o555)
        target = str(tmp_path / "closed" / "assay.db")
    with pytest.raises(LedgerUnavailable, match="can't be created"):
        open_ledger(target, create=True)


# -- a server that goes away --------------------------------------------------------------------------------------------------------
def test_a_stopped_server_loses_nothing(postgres: Any, tmp_path: Path) -> None:
    """Stopped at once in the middle of a run, outcomes spooled, started again, ingested: with the same ledger object."""
    spool = Spool(tmp_path / "spool")
    with open_ledger(postgres.new_database("assay_template")) as ledger:
        trials = start(ledger, 60)
        ledger.claim("me", [item.key for item in trials], 600)
        ledger.record([attempt(item) for item in trials[:20]], [ENVIRONMENT])
        assert len(ledger.query("SELECT * FROM attempts")) == 20
        postgres.stop()
        try:
            group = [attempt(item) for item in trials[20:40]]
            with pytest.raises(LedgerUnavailable, match="can't be reached"):
                ledger.record(group, [ENVIRONMENT])
            spool.write(group, [ENVIRONMENT])
            for call in (
                lambda: ledger.renew("me", 600),
                lambda: ledger.statuses(["x"]),
                lambda: ledger.query("SELECT 1 AS x FROM trials"),
            ):
                with pytest.raises(LedgerUnavailable):
                    call()
            with pytest.raises(LedgerUnavailable):
                spool.ingest(ledger)
            assert len(spool.files()) == 1
        finally:
            postgres.start()
        assert spool.ingest(ledger) == 20
        assert ledger.renew("me", 600) == 20
        assert ledger.record([attempt(item) for item in trials[40:]], [ENVIRONMENT]) == 20
        assert ledger.query("SELECT state, count(*) AS n FROM trials GROUP BY state").to_pylist() == [{"state": "done", "n": 60}]


def test_a_cut_connection_is_made_again(postgres: Any) -> None:
    with open_ledger(postgres.new_database("assay_template")) as ledger:
        trials = start(ledger, 2)
        assert ledger.query("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 2}]
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        assert ledger.record([attempt(trials[0])], [ENVIRONMENT]) == 1
        assert ledger.query("SELECT count(*) AS n FROM attempts").to_pylist() == [{"n": 1}]


# -- the spool ----------------------------------------------------------------------------------------------------------------------
def test_spool_keeps_every_bit(new_url: Callable[[], str], tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    odd = {f"m{index}": value for index, value in enumerate(ODD_VALUES)}
    curve = Curve("path", tuple(float(step) for step in range(len(ODD_VALUES))), list(ODD_VALUES))
    one = attempt(trial(0), odd, curves=(curve,), info={"a": [1, "é"]}, error="Böse\n\x00", stdout="\udcff" + "x" * 2**20)
    (read,), environments = spool.read(spool.write([one], [ENVIRONMENT]))
    assert all(same(read.metrics[name], value) for name, value in odd.items())
    assert all(same(left, right) for left, right in zip(read.curves[0].values, ODD_VALUES, strict=True))
    assert (read.error, read.stdout[0], read.info, read.started) == ("Böse\n␀", "?", {"a": [1, "é"]}, one.started)
    assert environments == [ENVIRONMENT]
    with open_ledger(new_url()) as ledger:
        start(ledger, 1)
        assert spool.ingest(ledger) == 1
        assert spool.ingest(ledger) == 0
        assert spool.files() == []


def test_spooled_twice_is_recorded_once(new_url: Callable[[], str], tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with open_ledger(new_url()) as ledger:
        trials = start(ledger, 2)
        ledger.record([attempt(trials[0])], [ENVIRONMENT])
        for _ in range(2):
            spool.write([attempt(item) for item in trials], [ENVIRONMENT])
        assert spool.ingest(ledger) == 1


def test_two_coordinators_may_ingest_one_spool(new_url: Callable[[], str], tmp_path: Path) -> None:
    """The other one ingests everything while this one records its first group."""
    mine, other = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    with open_ledger(new_url()) as ledger:
        trials = start(ledger, 3)
        for item in trials:
            mine.write([attempt(item)], [ENVIRONMENT])

        class Slow:
            def record(self, *group: Any) -> int:
                assert other.ingest(ledger) == (3 if group[0][0].trial == trials[0].key else 0)
                return ledger.record(*group)

        assert mine.ingest(Slow()) == 0  # type: ignore[arg-type]
        assert ledger.query("SELECT count(*) AS n FROM attempts").to_pylist() == [{"n": 3}]
        assert (mine.files(), mine.take_rejected()) == ([], [])


def test_damaged_and_foreign_spool_files_are_set_aside(new_url: Callable[[], str], tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with open_ledger(new_url()) as ledger:
        trials = start(ledger, 1)
        damaged = spool.write([attempt(trials[0])], [ENVIRONMENT])
        damaged.write_bytes(damaged.read_bytes()[:-1])
        spool.write([attempt(trial(99))], [ENVIRONMENT])
        spool.write([attempt(trials[0], number=2, outcome="great", next_state="failed")])  # type: ignore[arg-type]
        spool.write([attempt(trials[0], environment="f" * 64)], [Environment("f" * 64, {"python": "3.12"})])
        (tmp_path / "spool" / "half.draft").write_bytes(b"unfinished")
        assert spool.ingest(ledger) == 1
        rejected = spool.take_rejected()
        reasons = [reason for _, reason in rejected]
        for reason, expected in zip(reasons, ("damaged", "never submitted", "refuses what it was given"), strict=True):
            assert expected in reason
        assert all(path.exists() and path.suffix == ".rejected" for path, _ in rejected)
        assert spool.take_rejected() == []


def test_a_group_of_another_version_is_set_aside(new_url: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    monkeypatch.setattr("db.spool.attempt_to_json", lambda one: {"id": one.id, "novelty": 1})
    spool.write([attempt(trial(0))])
    with open_ledger(new_url()) as ledger:
        assert spool.ingest(ledger) == 0
        ((_, reason),) = spool.take_rejected()
    assert "another version" in reason


@pytest.mark.parametrize("error", [LedgerCorrupt("Damaged."), SchemaMismatch("Too new.")])
def test_what_is_wrong_with_the_ledger_is_not_the_groups_fault(tmp_path: Path, error: Exception) -> None:
    class Broken:
        def record(self, *group: Any) -> int:
            raise error

    spool = Spool(tmp_path / "spool")
    written = spool.write([attempt(trial(0))], [ENVIRONMENT])
    with pytest.raises(type(error)):
        spool.ingest(Broken())  # type: ignore[arg-type]
    assert (spool.files(), spool.take_rejected()) == ([written], [])


# -- a ledger opened for reading ----------------------------------------------------------------------------------------------------
def test_a_ledger_opened_for_reading_refuses_to_write(new_url: Callable[[], str]) -> None:
    url = new_url()
    with open_ledger(url) as ledger:
        trials = start(ledger, 3)
        ledger.record([attempt(trials[0]), attempt(trials[1], outcome="error", next_state="failed")], [ENVIRONMENT])
        expected = ledger.statuses([item.key for item in trials] + ["unknown"])
    with open_ledger(url, read_only=True) as reader:
        assert reader.statuses([item.key for item in trials] + ["unknown"]) == expected
        for call in (
            lambda: reader.submit(RUN.id, trials),
            lambda: reader.record([attempt(trials[2])]),
            lambda: reader.claim("me", [trials[2].key], 1),
            lambda: reader.release("me"),
            lambda: reader.renew("me", 1),
            lambda: reader.reopen([trials[1].key]),
            lambda: reader.write_catalogue(catalogue()),
            lambda: reader.start_run(RUN, ENVIRONMENT),
            lambda: reader.finish_run(RUN.id, "failed"),
            lambda: reader.record_verdicts([]),
        ):
            with pytest.raises(LedgerUnavailable, match="for reading only"):
                call()
        with pytest.raises(QueryRefused):
            reader.query("DELETE FROM trials")
        with pytest.raises(LedgerError):
            reader.query("SELECT * FROM nothing")
