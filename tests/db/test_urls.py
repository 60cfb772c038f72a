"""What names a ledger: URLs, good and bad, and the passwords in them, which nobody ever sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from db import open_ledger
from db.backends.postgresql_surface import named
from db.errors import LedgerUnavailable
from db.records import Run
from db.testing import ENVIRONMENT
from db.values import shown_command, without_password

UNREACHABLE = [
    "postgresql://ann:sEcret@127.0.0.1:1/db",
    "postgresql+psycopg://ann:sEcret@127.0.0.1:1/db",
    "POSTGRES://ann:sEcret@127.0.0.1:1/db",
    "postgresql://ann:sEc:ret@127.0.0.1:1/db",
    "postgresql://ann:sEc#ret@127.0.0.1:1/db",
    "postgresql://ann:sEc?ret@127.0.0.1:1/db",
    "postgresql://ann:sEc%2Fret@[::1]:1/db",
    "postgresql://127.0.0.1:1/db?user=ann&password=sEcret",
    "postgresql://ann:sEcret@127.0.0.1:1,127.0.0.1:2/db",
]
MISTYPED = [
    "postgresql://ann:sEc/ret@127.0.0.1:1/db",
    "postgresql://ann:sEc@ret@127.0.0.1:1/db",
    "postgresql://ann:sEcret",
    "postgresql://ann:sEcret/db",
    "postgresql:/ann:sEcret@127.0.0.1:1/db",
    "postgresql:ann:sEcret@127.0.0.1:1/db",
    "postgresql://ann:sEc%ret@127.0.0.1:1/db",
    "postgresql://ann:sEcret@[::1/db",
    "postgresql://127.0.0.1:1/db?user=ann&PASSWORD=sEcret",
]
OTHERS = ["mysql://ann:sEcret@host/db", "sqlite://ann:sEcret@host", "ann:sEcret@host/db", "host=127.0.0.1 password=sEcret"]


@pytest.mark.parametrize("url", [*UNREACHABLE, *MISTYPED, *OTHERS])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_ledger_that_can_not_be_opened_is_named_without_its_password(url: str, read_only: bool) -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        open_ledger(url, read_only=read_only)
    said = str(caught.value)
    assert "sEc" not in said
    assert "ret@" not in said
    assert ("can't be understood" in said) == (url in MISTYPED)
    assert ("can't be reached" in said) == (url in UNREACHABLE)


def test_shown_urls() -> None:
    assert named("postgres://ann:secret@host:5432/db?sslmode=require")[0] == "postgresql://ann:***@host:5432/db?sslmode=require"
    for url in ("postgresql://ann@host:5432/db", "postgresql:///db?host=/tmp/socket", "postgresql://", "postgresql://ann@[::1]:5432/db"):
        assert named(url) == (url, url)
    assert without_password("~/.assay/mine/assay.db") == "~/.assay/mine/assay.db"
    assert shown_command(["run", "--db=postgresql://ann:secret@host/db", "--tag", "a:b@c"]) == [
        "run", "--db=postgresql://ann:***@host/db", "--tag", "a:b@c",
    ]  # fmt: skip


def test_a_password_on_the_command_line_is_not_kept(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "x.db", create=True) as ledger:
        ledger.start_run(Run("run-1", "s", "", "ray", ["run", "s", "--db", "postgresql://ann:secret@host/db"], 1), ENVIRONMENT)
        (row,) = ledger.query("SELECT argv FROM runs").to_pylist()
    assert json.loads(row["argv"]) == ["run", "s", "--db", "postgresql://ann:***@host/db"]


COMMANDS = [
    "db current --json", "db stats", "db upgrade", "db vacuum", "sql --saved runs", "sql nonsense", "status", "show 00", "audit",
    "leaderboard demo", "claims", "doctor", "board log nothing", "export --to bundle", "report --out report", "compare demo/a demo/b",
    "run none", "retry none",
]  # fmt: skip


def test_no_command_says_the_password_of_a_ledger_that_it_opens(postgres: Any, tmp_path: Path) -> None:
    """The server trusts everybody, so a URL with any password opens."""
    url = postgres.new_database("assay_template").replace("postgres@", "postgres:sEcret@")
    with open_ledger(url) as ledger:
        ledger.start_run(Run("run-1", "suite", "", "ray", [], 1), ENVIRONMENT)
    environment = {**os.environ, "ASSAY_DB": url, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    program = f"""
import sys
from harness.cli import app
for command in {COMMANDS!r}:
    print("$", command, flush=True)
    try:
        app(command.split())
    except SystemExit:
        pass
    except Exception as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("$") >= len(COMMANDS)
    assert "postgres:***@" in done.stdout
    assert "sEcret" not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"sEcret" not in path.read_bytes()


def test_a_password_is_not_on_the_command_line_of_pg_dump(postgres: Any, tmp_path: Path) -> None:
    """The server trusts everybody here; the program in pg_dump's place shows what it was started with."""
    (tmp_path / "pg_dump").write_text(f'#!/bin/sh\necho "$PGPASSWORD $@" > {tmp_path}/seen; touch {tmp_path}/saved.part\n')
    (tmp_path / "pg_dump").chmod(0o755)
    url = postgres.new_database("assay_template").replace("postgres@", "postgres:sEcret@")
    command = [sys.executable, "-m", "harness.cli", "db", "backup", "--db", url, "--to", str(tmp_path / "saved")]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, check=True, capture_output=True)
    password, _, arguments = (tmp_path / "seen").read_text().partition(" ")
    assert password == "sEcret"
    assert "sEcret" not in arguments
    assert "user=postgres" in arguments


@pytest.mark.parametrize("arguments", [{"create": True}, {"read_only": True}, {}])
def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, bool]) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerUnavailable, match=r"needs the driver psycopg; run `pip install 'assay-bench\[postgres\]'`"):
        open_ledger("postgresql://ann@127.0.0.1:1/db", **arguments)
