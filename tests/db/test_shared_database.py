"""A ledger in a PostgreSQL database that other people use too: their things stay, and users with few rights can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from db import admin, open_ledger
from db.errors import LedgerUnavailable, QueryRefused
from db.testing import ENVIRONMENT, RUN
from db.views import VIEWS


def name_of(url: str) -> str:
    return url.split("@/")[1].split("?")[0]


def views(postgres: Any, url: str) -> set[str]:
    import psycopg

    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'public'")}


def test_views_of_others_stay(postgres: Any) -> None:
    url = postgres.new_database()
    postgres.execute('CREATE VIEW "Their view" AS SELECT 1 AS x', name_of(url))
    open_ledger(url, create=True).close()
    assert views(postgres, url) == {"Their view", "measurement", *VIEWS}


@pytest.mark.parametrize("statement", ["CREATE TABLE task (x INTEGER)", "CREATE VIEW trials AS SELECT 1 AS x"])
def test_names_that_are_taken_are_not_taken_away(postgres: Any, statement: str) -> None:
    url = postgres.new_database()
    postgres.execute(statement, name_of(url))
    with pytest.raises(LedgerUnavailable, match="holds something else under a name of the ledger's"):
        open_ledger(url, create=True)
    assert views(postgres, url) == ({"trials"} if "VIEW" in statement else set())
    with pytest.raises(LedgerUnavailable, match="holds no ledger yet"):  # not half of one either
        open_ledger(url)


@pytest.fixture
def role_maker(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database of a user who may make roles, as on managed servers, on a server where the reader role is missing."""
    from db.backends import postgresql, postgresql_surface

    for module in (postgresql, postgresql_surface):
        monkeypatch.setattr(module, "READER", "assay_reader_of_role_maker")
    postgres.execute("CREATE ROLE role_maker LOGIN CREATEROLE")
    url: str = postgres.new_database()
    postgres.execute(f"ALTER DATABASE {name_of(url)} OWNER TO role_maker")
    yield url.replace("postgres@", "role_maker@")
    postgres.execute(f"ALTER DATABASE {name_of(url)} OWNER TO postgres")
    for role in ("assay_reader_of_role_maker", "role_maker"):
        postgres.execute(f"DROP OWNED BY {role} CASCADE", name_of(url))
        postgres.execute(f"DROP ROLE {role}")


def test_who_makes_the_reader_role_may_act_as_it(role_maker: str) -> None:
    """From PostgreSQL 16 on, making a role gives the right to grant it, not to become it."""
    open_ledger(role_maker, create=True).close()
    with open_ledger(role_maker, read_only=True) as reader:
        assert reader.query("SELECT current_user::text AS who, count(*) AS n FROM trials").to_pylist() == [
            {"who": "assay_reader_of_role_maker", "n": 0}
        ]
        with pytest.raises(QueryRefused, match="permission denied for table trial"):
            reader.query("SELECT * FROM trial")


def test_a_reader_role_that_may_be_granted_but_not_become(postgres: Any, role_maker: str) -> None:
    """What a ledger of an earlier Assay has there: queries are checked by their parse tree instead, until `assay db upgrade`."""
    open_ledger(role_maker, create=True).close()
    postgres.execute("REVOKE assay_reader_of_role_maker FROM role_maker GRANTED BY role_maker")
    with open_ledger(role_maker, read_only=True) as reader:
        assert reader.query("SELECT current_user::text AS who, count(*) AS n FROM trials").to_pylist() == [{"who": "role_maker", "n": 0}]
        with pytest.raises(QueryRefused, match="trial is not one of the public views"):
            reader.query("SELECT * FROM trial")


def test_two_ledgers_of_one_server_make_the_role_at_once(postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other's role appears between this one's look and its CREATE ROLE."""
    from db.backends import postgresql

    monkeypatch.setattr(postgresql, "READER", "assay_reader_made_twice")
    allowed = postgresql._allowed

    def late(connection: Any, *statements: str) -> None:
        if statements[0].startswith("CREATE ROLE"):
            postgres.execute(statements[0])
        allowed(connection, *statements)

    monkeypatch.setattr(postgresql, "_allowed", late)
    url = postgres.new_database()
    open_ledger(url, create=True).close()
    assert admin.current(url).revision == admin.HEAD
    postgres.execute("DROP OWNED BY assay_reader_made_twice", name_of(url))
    postgres.execute("DROP ROLE assay_reader_made_twice")


@pytest.fixture
def colleague(postgres: Any) -> Iterator[tuple[str, str]]:
    """URLs of a ledger: its owner's, and that of somebody who owns nothing."""
    postgres.execute("CREATE ROLE colleague LOGIN")
    url: str = postgres.new_database()
    open_ledger(url, create=True).close()
    yield url, url.replace("postgres@", "colleague@")
    postgres.execute("DROP OWNED BY colleague", name_of(url))
    postgres.execute("DROP ROLE colleague")


COUNT = "SELECT count(*) AS n FROM trials"


def test_a_colleague_reads_as_soon_as_the_role_is_granted(postgres: Any, colleague: tuple[str, str]) -> None:
    _, url = colleague
    with open_ledger(url, read_only=True) as reader, pytest.raises(LedgerUnavailable, match=r"may not read .*`GRANT assay_reader TO` you"):
        reader.query(COUNT)
    postgres.execute("GRANT assay_reader TO colleague")
    assert admin.current(url).revision == admin.HEAD
    admin.upgrade(url)  # nothing to do
    with open_ledger(url, read_only=True) as reader:
        assert reader.query(COUNT).to_pylist() == [{"n": 0}]
    with open_ledger(url) as writer, pytest.raises(LedgerUnavailable, match="may not write"):
        writer.start_run(RUN, ENVIRONMENT)


def test_a_ledger_of_an_earlier_assay_says_nothing_to_colleagues_until_it_is_upgraded(postgres: Any, colleague: tuple[str, str]) -> None:
    mine, theirs = colleague
    postgres.execute("COMMENT ON VIEW trials IS NULL", name_of(mine))
    with pytest.raises(LedgerUnavailable, match="to run `assay db upgrade`"):
        open_ledger(theirs, read_only=True)
    admin.upgrade(mine)
    open_ledger(theirs, read_only=True).close()


def test_a_restored_database_whose_grants_are_gone_can_be_read_by_its_owner(postgres: Any) -> None:
    """pg_restore can't grant to a role that the new server does not have yet; another ledger makes it later."""
    url = postgres.new_database("assay_template")
    postgres.execute("DROP OWNED BY assay_reader", name_of(url))
    with open_ledger(url, read_only=True) as reader:
        assert reader.query(COUNT).to_pylist() == [{"n": 0}]
        with pytest.raises(QueryRefused, match="trial is not one of the public views"):
            reader.query("SELECT * FROM trial")


def test_settings_of_the_server_do_not_count_for_writers(postgres: Any) -> None:
    url = postgres.new_database("assay_template")
    for setting in ("statement_timeout = '20ms'", "default_transaction_isolation = 'serializable'"):
        postgres.execute(f"ALTER DATABASE {name_of(url)} SET {setting}")
    with open_ledger(url) as ledger, ledger.backend.write() as connection:  # type: ignore[union-attr]
        connection.exec_driver_sql("SELECT pg_sleep(0.1)")
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"


def test_a_database_that_can_not_hold_every_text_is_refused_and_left_alone(postgres: Any) -> None:
    name = name_of(postgres.new_database())
    postgres.execute(f"DROP DATABASE {name}")
    postgres.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(LedgerUnavailable, match="has the encoding LATIN1"):
        open_ledger(postgres.url(name), create=True)
    postgres.execute(f"DROP DATABASE {name}")  # which fails while somebody is connected
