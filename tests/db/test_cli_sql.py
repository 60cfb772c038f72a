"""`assay sql`, `assay db`, `assay export/import/verify` as people and scripts run them, in real processes."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import db
from db import open_ledger
from db.errors import QueryRefused
from db.formats import write_rows
from db.revisions import HEAD
from db.saved import saved_queries
from db.testing import ENVIRONMENT, RUN, attempt, catalogue, trial, verdict
from harness.cli.prompt import Shell, complete
from harness.errors import NotInLedger
from harness.status import latest_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def path(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Path(shutil.copy(sqlite_template, tmp_path_factory.mktemp("cli") / "ledger.db"))
    with open_ledger(made) as ledger:
        ledger.write_catalogue(catalogue())
        ledger.start_run(RUN, ENVIRONMENT)
        trials = [trial(seed) for seed in range(4)]
        ledger.submit(RUN.id, trials)
        ledger.record([attempt(trials[0], {"loss": 0.1}), attempt(trials[1], {"loss": math.nan})], [ENVIRONMENT])
        ledger.record([attempt(trials[2], outcome="error", next_state="failed", error='a | b\nc, "d"')])
        ledger.record_verdicts([verdict()])
    return made


def assay(*arguments: str, db: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CONFIG_HOME": "/nonexistent", **({"ASSAY_DB": str(db)} if db else {})}
    command = [sys.executable, "-m", "harness.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_query_as_csv_and_limit(path: Path) -> None:
    done = assay("sql", "SELECT seed, error FROM trials ORDER BY seed", "-f", "csv", "--limit", "3", db=path, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert list(csv.reader(io.StringIO(done.stdout))) == [["seed", "error"], ["0", ""], ["1", ""], ["2", 'a | b\nc, "d"']]
    assert "Only the first 3 rows" in done.stderr.replace("\n", " ")


def test_stdin_file_and_parameters(path: Path, tmp_path: Path) -> None:
    query = "SELECT seed FROM trials WHERE seed = :seed;\n"
    (tmp_path / "q.sql").write_text(query)
    for arguments, text in ((("--file", str(tmp_path / "q.sql")), None), ((), query)):
        done = assay("sql", *arguments, "-p", "seed=2", "-f", "json", db=path, input=text)
        assert json.loads(done.stdout) == [{"seed": 2}], done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("sql", "DELETE FROM trials"), 2, "cannot modify trials"),
        (("sql", "SELECT 1; SELECT 2"), 2, "Only one statement"),
        (("sql", "SELECT * FROM nowhere"), 2, "the public views are trials"),
        (("sql", ";"), 2, "The query is empty"),
        (("sql", "--saved", "leaderbord"), 2, "did you mean leaderboard?"),
        (("sql", "--file", "/nonexistent.sql"), 2, "can't be read"),
        (("sql", "SELECT 1", "-f", "xml"), 2, "is not one of"),
        (("sql", "SELECT 1", "--db", "/nonexistent/a.db"), 3, "There is no ledger"),
        (
            ("sql", "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM x) SELECT count(*) FROM x", "--timeout", "0.2"),
            2,
            "longer than",
        ),
        (("verify", "/nonexistent"), 3, "is not a bundle"),
        (("db", "current", "--db", "/nonexistent.db"), 3, "There is no ledger"),
    ],
)
def test_mistakes_get_one_sentence_and_a_code(path: Path, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = assay(*arguments, db=path, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_explain_and_list(path: Path) -> None:
    assert "SEARCH" in assay("sql", "SELECT * FROM trials", "--explain", db=path).stdout
    assert "leaderboard" in assay("sql", "--list", db=path).stdout


def test_current_says_what_to_do(path: Path, tmp_path: Path) -> None:
    for revision, advice in ((HEAD, "up to date"), ("0001", "is older: run `assay db upgrade`"), ("9999", "is newer: install the Assay")):
        with sqlite3.connect(shutil.copy(path, tmp_path / "x.db")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        assert advice in assay("db", "current", db=tmp_path / "x.db").stdout


def test_transfer(path: Path, tmp_path: Path) -> None:
    assert assay("export", "--to", str(tmp_path / "out"), db=path).returncode == 0
    assert "leaderboard rows agree" in assay("verify", str(tmp_path / "out")).stdout
    done = assay("import", str(tmp_path / "out"), "--json", db=tmp_path / "new.db")
    assert json.loads(done.stdout)["attempts"] == 3, done.stderr
    counts = json.loads(assay("db", "stats", "--json", db=tmp_path / "new.db").stdout)
    assert (counts["trial"], counts["attempt"]) == (4, 3)


def test_a_run_is_found_by_its_first_characters_whatever_the_order_of_the_alphabet(new_url: Callable[[], str]) -> None:
    """In most locales of PostgreSQL "~" comes before the letters; by code points it comes before "é"."""
    with open_ledger(new_url()) as ledger:
        for run in ("é-run", "other"):
            ledger.start_run(replace(RUN, id=run), ENVIRONMENT)
        assert latest_run(ledger, "é") == "é-run"
        assert latest_run(ledger, "o") == "other"
        assert latest_run(ledger) == "other"
        with pytest.raises(NotInLedger, match=r"No run in .* starts with 'r'"):
            latest_run(ledger, "r")


def test_prompt_on_a_terminal(path: Path, tmp_path: Path) -> None:
    """A real pseudo-terminal: a query over two lines, a refused one, a command, and the end; history is kept."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "ASSAY_DB": str(path), "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    command = [sys.executable, "-m", "harness.cli", "sql", "-f", "csv"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(follower)
    os.write(leader, b"SELECT seed + 40 AS forty\rFROM trials WHERE seed = 2;\rDELETE FROM trials;\r\\d runs\r\\q\r")
    output, errors = process.communicate(timeout=60)
    os.close(leader)
    assert "forty\n42" in output.replace("\r", "")
    assert "cannot modify trials" in errors
    assert "One row per invocation" in output
    assert "FROM trials WHERE seed = 2;" in (tmp_path / "assay" / "sql_history").read_text()


def test_completion_knows_views_columns_and_aliases() -> None:
    names = lambda text: [name for name, _, _ in complete(text)]  # noqa: E731
    assert "leaderboard" in names("SELECT * FROM lea")
    assert names("SELECT t.task_p") == []
    assert names("SELECT 1 FROM trials t WHERE t.task_p") == ["task_params"]
    assert "outcome" in names("SELECT out")
    assert "statement" not in names("SELECT 1 FROM trials WHERE st")
    assert "SELECT" in names("sel")
    assert names("\\d cur") == ["curves"]


def test_shell_commands(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_ledger(path, read_only=True) as ledger:
        shell = Shell(ledger.surface, "csv", 100, 5.0)  # type: ignore[union-attr]
        for command in ("\\d", "\\s", "\\s progress", "\\e SELECT * FROM trials", "\\f json", "SELECT 1 AS one;", "\\?", "\\d nothing"):
            assert shell.answer(command)
        assert not shell.answer("\\q")
    output, errors = capfd.readouterr()
    for expected in ("One row per trial", "leaderboard", "demo,done,2", '[\n{"one": 1}\n]', "describe a view"):
        assert expected in output
    assert "There is no view nothing" in errors


@pytest.mark.parametrize("name", sorted(saved_queries()))
def test_saved_queries_run_on_both_databases(name: str, path: Path, postgres: object) -> None:
    query = saved_queries()[name]
    assert query.doc
    for url in (path, postgres.new_database("assay_template")):  # type: ignore[attr-defined]
        with open_ledger(url, read_only=True) as ledger:
            ledger.query(query.sql, {"family": "demo"} if ":family" in query.sql else None)


def test_users_saved_queries_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "assay" / "queries").mkdir(parents=True)
    (tmp_path / "assay" / "queries" / "runs.sql").write_text("-- mine\nSELECT 1")
    assert (saved_queries()["runs"].doc, saved_queries()["runs"].origin) == ("mine", str(tmp_path / "assay" / "queries" / "runs.sql"))


def test_a_saved_query_that_can_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "assay" / "queries").mkdir(parents=True)
    (tmp_path / "assay" / "queries" / "latin.sql").write_bytes(b"-- \xe9\nSELECT 1")
    with pytest.raises(QueryRefused, match=r"latin\.sql can't be read"):
        saved_queries()


@pytest.mark.parametrize(
    ("query", "params", "sentence"),
    [
        ("SELECT '\udcff'", None, "surrogates not allowed"),
        ("SELECT :x AS x", {"x": "\udcff"}, "surrogates not allowed"),
        ("SELECT 1\0", None, "null character"),
        ("SELECT :x AS x", None, "parameter"),
        ("SELECT :x AS x", {"y": 1}, "parameter"),
    ],
)
def test_senseless_queries_get_one_sentence(
    new_url: Callable[[], str], query: str, params: dict[str, object] | None, sentence: str
) -> None:
    with open_ledger(new_url(), read_only=True) as ledger, pytest.raises(QueryRefused, match=sentence) as caught:
        ledger.query(query, params)
    assert str(caught.value).endswith(".")
    assert not str(caught.value).endswith("..")


def test_ctrl_c_ends_a_query_at_once(new_url: Callable[[], str]) -> None:
    endless = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x"
    with open_ledger(new_url(), read_only=True) as ledger:
        timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            ledger.surface.rows(endless, None, 100.0)  # type: ignore[union-attr]
        assert ledger.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_from_python(new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_url()
    with open_ledger(url) as ledger:
        ledger.start_run(RUN, ENVIRONMENT)
        ledger.submit(RUN.id, [trial(seed) for seed in range(3)])
    monkeypatch.setenv("ASSAY_DB", url)
    for where in (url, None):
        table = db.query("SELECT seed, finished, seconds FROM trials WHERE seed >= :low ORDER BY seed", {"low": 1}, where)
        assert isinstance(table, pa.Table)
        frame = table.to_pandas()
        assert (list(frame.seed), str(frame.seed.dtype), str(frame.seconds.dtype)) == ([1, 2], "int64", "float64")
    with pytest.raises(QueryRefused):
        db.query("DELETE FROM trials")


def test_any_time_limit_is_fine(new_url: Callable[[], str]) -> None:
    with open_ledger(new_url(), read_only=True) as ledger:
        for timeout in (math.inf, 1e15, 60.0):
            assert ledger.surface.rows("SELECT 1 AS one", None, timeout) == (["one"], [(1,)])  # type: ignore[union-attr]


ROWS = [(1, 0.1, 'a|b\n"c",é', None), (2, math.inf, "", "x"), (3, -5e-324, "␀", "y")]


def test_formats_keep_every_value() -> None:
    written = {}
    for format in ("csv", "json", "markdown", "parquet", "arrow", "table"):
        sink = io.BytesIO()
        write_rows(["n", "value", "text", "maybe"], ROWS, format, sink, None)
        written[format] = sink.getvalue()
    rows = list(csv.reader(io.StringIO(written["csv"].decode())))
    assert [(int(n), float(value), text) for n, value, text, _ in rows[1:]] == [row[:3] for row in ROWS]
    assert [tuple(row.values()) for row in json.loads(written["json"])] == [(*ROWS[0],), (2, "inf", "", "x"), (*ROWS[2],)]
    for table in (pq.read_table(io.BytesIO(written["parquet"])), pa.ipc.open_stream(written["arrow"]).read_all()):
        assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    assert 'a\\|b<br>"c",é' in written["markdown"].decode()
    assert written["markdown"].decode().splitlines()[1] == "|---:|---:|---|---|"
    assert len(written["table"].decode().splitlines()) == 5
    for format in ("csv", "json", "markdown", "parquet", "arrow", "table"):
        write_rows(["n"], [], format, io.BytesIO())


def test_columns_of_one_name_are_all_written() -> None:
    written = {}
    for format in ("json", "arrow", "parquet", "csv"):
        sink = io.BytesIO()
        write_rows(["a", "b", "a"], [(1, 2, 3)], format, sink)
        written[format] = sink.getvalue()
    expected = {"a": 1, "b": 2, "a_2": 3}
    assert json.loads(written["json"]) == pa.ipc.open_stream(written["arrow"]).read_all().to_pylist() == [expected]
    assert pq.read_table(io.BytesIO(written["parquet"])).to_pylist() == [expected]
    assert written["csv"] == b"a,b,a\n1,2,3\n"


def test_a_table_holds_no_terminal_escapes() -> None:
    for width in (None, 60):
        sink = io.BytesIO()
        write_rows(["error"], [("\x1b]0;title\x07\x1b[31mred\u202e é 𝛼 ␀ 表",)], "table", sink, width)
        assert sink.getvalue().decode().splitlines()[2] == "\ufffd]0;title\ufffd\ufffd[31mred\ufffd é 𝛼 ␀ 表"
