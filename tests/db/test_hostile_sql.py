"""The public SQL surface against people who try: nothing is written, nothing private is read, nothing runs for ever. Both databases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db import open_ledger
from db.errors import QueryRefused
from db.records import Curve
from db.testing import ENVIRONMENT, RUN, attempt, catalogue, trial
from db.views import VIEWS

#: Must be refused on both databases.
REFUSED = [
    "INSERT INTO trial (id) VALUES (1)",
    "INSERT INTO trials (trial) VALUES ('x')",
    "UPDATE trial SET state = 'pending'",
    "UPDATE trials SET state = 'pending'",
    "DELETE FROM attempt",
    "DELETE FROM trials",
    "DROP TABLE attempt",
    "DROP VIEW trials",
    "DROP TABLE IF EXISTS attempt",
    "ALTER TABLE trial ADD COLUMN x INTEGER",
    "CREATE TABLE mine (x INTEGER)",
    "CREATE TEMP TABLE mine (x INTEGER)",
    "CREATE TABLE mine AS SELECT * FROM trials",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE INDEX mine ON trial (seed)",
    "SELECT * FROM trial",
    "SELECT * FROM measurement",
    "SELECT * FROM measurement_array",
    "SELECT key FROM attempt",
    "SELECT t.seed FROM trial t JOIN trials v ON v.trial = t.key",
    "SELECT (SELECT max(id) FROM attempt)",
    "WITH x AS (SELECT id FROM trial) SELECT * FROM x",
    "WITH trials AS (SELECT key FROM trial) SELECT * FROM trials",
    "WITH scores(x) AS MATERIALIZED (SELECT value FROM measurement) SELECT x FROM scores",
    "WITH Runs AS (SELECT a.key FROM attempt a) SELECT * FROM Runs, trials",
    "WITH trials AS (SELECT 1 AS x UNION ALL SELECT id FROM trial) SELECT x FROM trials",
    "SELECT * FROM (WITH tags AS (SELECT * FROM run_tag) SELECT * FROM tags)",
    "SELECT count(*) FROM trial",
    "SELECT * FROM alembic_version",
    "DELETE FROM tags",
    "UPDATE audits SET verdict = 'bitwise'",
    "UPDATE submissions SET displayed = 1.0",
    "DELETE FROM submission",
    "SELECT * FROM run_tag",
    "SELECT * FROM audit",
    "SELECT s.id FROM submission s",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE trial",
    "SELECT 1; COMMIT; DROP TABLE trial",
    "; DELETE FROM trial",
    "/* harmless */ DELETE FROM trial",
    "-- harmless\nDELETE FROM trial",
    "WITH x AS (DELETE FROM trial RETURNING id) SELECT * FROM x",
    "WITH x AS (INSERT INTO paper VALUES (1,'','','','') RETURNING paper) SELECT * FROM x",
    "WITH x AS (SELECT 1) DELETE FROM trial",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT a",
    "VACUUM",
    "ANALYZE",
    "REINDEX",
    "EXPLAIN SELECT 1; DELETE FROM trial",
    "TRUNCATE trial",
    "GRANT ALL ON trial TO public",
    "COPY trial TO '/tmp/stolen'",
    "COPY trial FROM '/etc/passwd'",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/owned'",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET transaction_read_only = off",
    "RESET ROLE",
    "DO 'BEGIN DELETE FROM trial; END'",
    "PREPARE p AS DELETE FROM trial",
    "LOCK TABLE trial",
    "LISTEN x",
    "CALL nothing()",
    "ATTACH DATABASE '/tmp/other.db' AS other",
    "DETACH DATABASE main",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "SELECT * FROM pragma_table_info('trial')",
    "SELECT load_extension('/tmp/evil')",
    "SELECT * FROM trials FOR UPDATE OF nothing",
    "SELECT 1 INTO mine",
    "SELECT",
    "SELECT * FROM nowhere",
    "\x00",
    "SELECT '",
]  # fmt: skip

REFUSED_BY = {
    "sqlite": [
        "SELECT * FROM sqlite_master",
        "SELECT sql FROM sqlite_schema",
        "WITH trials AS (SELECT * FROM sqlite_master) SELECT sql FROM trials",
        "WITH trials AS (SELECT * FROM pragma_database_list) SELECT file FROM trials",
        "EXPLAIN WITH trials AS (SELECT key FROM trial) SELECT * FROM trials",
        "SELECT * FROM dbstat",
        "SELECT fts3_tokenizer('simple')",
        "SELECT readfile('/etc/passwd')",
        "VACUUM INTO '/tmp/copy.db'",
        "SELECT zeroblob(1000000000)",
        "SELECT randomblob(1000000000)",
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "INSERT INTO trials SELECT * FROM trials",
        "REPLACE INTO paper VALUES (1,'','','','')",
        "CREATE TRIGGER x INSTEAD OF INSERT ON trials BEGIN DELETE FROM trial; END",
        "CREATE VIRTUAL TABLE x USING fts5(y)",
    ],
    "postgresql": [
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT lo_creat(-1)",
        "SELECT pg_reload_conf()",
        "SELECT pg_rotate_logfile()",
        "SELECT pg_switch_wal()",
        "SELECT pg_create_restore_point('x')",
        "SELECT nextval('pg_catalog.x')",
        "SELECT setval('x', 1)",
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_catalog.pg_shadow",
        "SELECT query_to_xml('DELETE FROM trial', true, true, '')",
        "SELECT query_to_xml('SELECT * FROM trial', true, true, '')",
        "SELECT table_to_xml('trial', true, true, '')",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'",
        "SELECT set_config('role', 'postgres', true), query_to_xml('DELETE FROM trial', true, true, '')",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SELECT set_config('session_authorization', 'postgres', false), pg_read_file('/etc/passwd')",
        "SELECT pg_stat_reset()",
        "SELECT * FROM dblink('x', 'DELETE FROM trial') AS t(x int)",
        "DECLARE x CURSOR FOR SELECT 1",
        "SELECT * FROM trials FOR UPDATE",
        "SELECT * FROM trials; RESET ROLE; DELETE FROM trial",
    ],
}

#: Must end at the deadline, or be refused as too large before it.
BOMBS = {
    "sqlite": [
        "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x",
        "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT sum(a.n * b.n) FROM x a, x b",
        "WITH RECURSIVE x(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM x) SELECT max(length(s)) FROM x",
        "WITH x(n) AS (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9)) SELECT count(*) FROM x a, x b, x c, x d, x e, x f, x g, x h, x i, x j",
    ],
    "postgresql": [
        "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x",
        "SELECT pg_sleep(60)",
        "SELECT set_config('statement_timeout', '0', false), pg_sleep(60)",
        "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b",
        "SELECT repeat('x', 2000000000)",
    ],
}

#: Run, but must leave no trace in the next query of the same surface.
WITHOUT_TRACE = [
    "SELECT set_config('statement_timeout', '1', false)",
    "SELECT set_config('search_path', 'pg_catalog', false)",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT set_config('timezone', 'Asia/Tokyo', false)",
    "SELECT pg_advisory_lock(418464719225)",
    "SELECT pg_notify('x', 'y')",
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "postgresql-without-roles"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A ledger with a little of everything; the last one belongs to a user who may not make roles, on a server without the reader role."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database("assay_template")
    elif request.param == "postgresql-without-roles":
        url = request.getfixturevalue("restricted")
    else:
        url = str(tmp_path_factory.mktemp("hostile") / "ledger.db")
    with open_ledger(url, create=True) as opened:
        opened.write_catalogue(catalogue())
        opened.start_run(RUN, ENVIRONMENT)
        trials = [trial(seed) for seed in range(3)]
        opened.submit(RUN.id, trials)
        opened.record([attempt(item, curves=[Curve("path", [1, 2], [1, 2])]) for item in trials], [ENVIRONMENT])
        before = content(opened)
        yield opened
        assert content(opened) == before  # after everything that the tests of this module tried


@pytest.fixture(scope="module")
def restricted(postgres: Any) -> Iterator[str]:
    """A database of a user without CREATEROLE."""
    from db.backends import postgresql, postgresql_surface

    postgres.execute("DROP ROLE IF EXISTS restricted")
    postgres.execute("CREATE ROLE restricted LOGIN")
    url: str = postgres.new_database()
    name = url.split("@/")[1].split("?")[0]
    postgres.execute(f"ALTER DATABASE {name} OWNER TO restricted")
    with pytest.MonkeyPatch.context() as patch:
        for module in (postgresql, postgresql_surface):
            patch.setattr(module, "READER", "nobody_made_this_role")
        yield url.replace("postgres@", "restricted@")


UNCHANGED = [(3, 3, "done", "done")]


def glance(ledger: Any) -> list[Any]:
    """What any successful write of the lists below would change, read quickly."""
    rows: list[Any] = ledger.surface.rows("SELECT count(*), sum(attempts), min(state), max(state) FROM trials", None, 60)[1]
    return rows


def content(ledger: Any) -> str:
    """A digest of everything that the views show."""
    rows = [sorted(map(str, ledger.surface.rows(f"SELECT * FROM {view}", None, 60)[1])) for view in VIEWS]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def test_the_list_is_long_enough() -> None:
    assert all(len(set(REFUSED + more)) >= 40 for more in REFUSED_BY.values())


@pytest.mark.parametrize("sql", [*REFUSED, *(sql for more in REFUSED_BY.values() for sql in more)], ids=lambda sql: repr(sql[:50]))
def test_refused_and_nothing_changed(ledger: Any, sql: str) -> None:
    if any(sql in more for name, more in REFUSED_BY.items() if name != ledger.backend.name):
        pytest.skip("for the other database")
    with pytest.raises(QueryRefused) as caught:
        ledger.surface.rows(sql, None, 5.0, 100)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert glance(ledger) == UNCHANGED
    assert ledger.claim("somebody", ["nothing"], 1.0) == []  # the writer still works


@pytest.mark.parametrize("sql", [sql for more in BOMBS.values() for sql in more], ids=lambda sql: repr(sql[:50]))
def test_bombs_end(ledger: Any, sql: str) -> None:
    if sql not in BOMBS[ledger.backend.name]:
        pytest.skip("for the other database")
    with pytest.raises(QueryRefused):
        ledger.surface.rows(sql, None, 0.3, 100)
    assert glance(ledger) == UNCHANGED


@pytest.mark.parametrize("sql", WITHOUT_TRACE)
def test_settings_and_locks_do_not_outlive_a_query(ledger: Any, sql: str) -> None:
    if ledger.backend.name == "sqlite":
        pytest.skip("functions of PostgreSQL")
    if "restricted@" in ledger.url:
        with pytest.raises(QueryRefused, match="may not run here: it does more than compute"):
            ledger.surface.rows(sql, None, 5.0, 100)
        return
    ledger.surface.rows(sql, None, 5.0, 100)
    assert glance(ledger) == UNCHANGED
    assert ledger.surface.rows("SELECT current_user::text, current_setting('timezone')", None, 5.0)[1] == [("assay_reader", "UTC")]
    assert ledger.submit(RUN.id, [trial(0)]) == 0  # nobody holds the writers' lock


def test_limit_stops_an_endless_answer(ledger: Any) -> None:
    endless = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT n FROM x"
    assert len(ledger.surface.rows(endless, None, 30.0, 10)[1]) == 10


def test_useful_sql_runs(ledger: Any) -> None:
    """Window functions, common table expressions, JSON and aggregates are what people come for."""
    useful = [
        "SELECT method, avg(value) FROM scores GROUP BY method HAVING count(*) > 1",
        "SELECT trial, row_number() OVER (PARTITION BY task ORDER BY seed) FROM trials",
        "WITH best AS (SELECT min(value) AS low FROM scores) SELECT s.trial FROM scores s JOIN best b ON b.low = s.value",
        "SELECT count(*) FROM trials WHERE error LIKE '%x%' OR error IS NOT NULL",
        "VALUES (1), (2)",
        "SELECT DISTINCT state FROM trials UNION SELECT status FROM runs",
        "WITH trials AS (SELECT trial FROM attempts) SELECT count(*) FROM trials",
        "select TRIALS.Seed from TRIALS join Scores using (trial)",
    ]
    for sql in useful:
        assert ledger.surface.rows(sql, None, 30.0)[0]
        assert ledger.surface.explain(sql, None, 30.0)


def test_explain_runs_nothing(ledger: Any) -> None:
    for sql in ("DELETE FROM trials", "ANALYZE DELETE FROM trials", "SELECT 1; DELETE FROM trial"):
        with pytest.raises(QueryRefused):
            ledger.surface.explain(sql, None, 5.0)
    assert glance(ledger) == UNCHANGED


def test_a_file_that_only_its_owner_may_write_can_be_read(ledger: Any, tmp_path: Path, new_read_only_copy: Callable[[Any], str]) -> None:
    if ledger.backend.name == "postgresql":
        pytest.skip("a file")
    with open_ledger(new_read_only_copy(ledger), read_only=True) as reader:
        assert reader.query("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 3}]


@pytest.fixture
def new_read_only_copy(tmp_path: Path) -> Callable[[Any], str]:
    """Backs a SQLite ledger up into a folder without write permission."""
    from db.admin import backup

    def make(ledger: Any) -> str:
        folder = tmp_path / "archive"
        folder.mkdir()
        path = backup(ledger.backend.path, folder / "old.db")
        path.chmod(0o444)
        folder.chmod(0o555)
        return str(path)

    return make


def test_without_roles_and_temporary_views_a_sentence_says_what_to_ask_for(postgres: Any, restricted: str) -> None:
    with open_ledger(restricted, create=True) as ledger:
        assert (
            ledger.query("SELECT count(*) AS n FROM trials WHERE seed = :seed OR trial = :text", {"seed": -1, "text": "it's %s"}).num_rows
            == 1
        )
        name = restricted.split("@/")[1].split("?")[0]
        postgres.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC, restricted")
        try:
            with pytest.raises(QueryRefused, match="ask an administrator for `CREATE ROLE assay_reader"):
                ledger.query("SELECT * FROM trials")
        finally:
            postgres.execute(f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
