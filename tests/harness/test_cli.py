"""The command line as a user meets it: runs, resumes, wrong input, exit codes. Every test starts real processes on a real ledger."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.records import Attempt
from db.spool import Spool
from harness.errors import EXIT_TRIALS_LEFT

HERE = Path(__file__).parent
PLAN_PLUGIN, TOY_PLUGIN = HERE / "plan_plugin.py", HERE / "toy_plugin.py"


class Shell:
    """Runs `assay` in a folder of its own with its own cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "ASSAY_CACHE": str(folder / "cache"), "RAY_USAGE_STATS_ENABLED": "0"}
        self.environment.pop("ASSAY_DB", None)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "harness.cli", *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, cwd=self.folder, env=self.environment)

    def suite(self, body: str, plugin: Path = PLAN_PLUGIN, name: str = "suite.yaml") -> str:
        (self.folder / name).write_text(f"name: mine\nplugins: [{plugin}]\n{body}")
        return name

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(f"file:{self.folder / 'assay.db'}?mode=ro", uri=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def assay(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


ADD = "seeds: 3\ntasks: [{task: toy/add, methods: [two, {method: one, sweep: {step: [1, 2]}}]}]\n"


@pytest.mark.parametrize("engine", ["inline", "process"])
def test_a_run_completes_and_a_second_one_does_nothing(assay: Shell, engine: str) -> None:
    suite = assay.suite(ADD)
    first = assay("run", suite, "--engine", engine)
    assert first.returncode == 0, first.stderr
    assert "9 of 9 trials done" in first.stderr
    second = assay("run", suite, "--engine", engine)
    assert second.returncode == 0
    assert "nothing to do, 9 of 9 trials are done" in second.stderr
    assert assay.rows("SELECT COUNT(*), COUNT(DISTINCT trial) FROM attempts") == [(9, 9)]
    assert assay.rows("SELECT value FROM scores WHERE metric = 'total' AND method = 'toy/two' ORDER BY seed") == [(2.0,), (3.0,), (4.0,)]


def test_the_same_seed_meets_the_same_data_with_every_method(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    draws = assay.rows("SELECT seed, COUNT(DISTINCT value) FROM scores WHERE metric = 'draw' GROUP BY seed")
    assert draws == [(0, 1), (1, 1), (2, 1)]


def test_what_an_earlier_run_had_to_spool_is_taken_in_before_anything_is_planned(assay: Shell) -> None:
    """Two groups wait: one whole, one damaged."""
    suite = assay.suite(ADD)
    assay("run", suite, "--engine", "inline", "--max-trials", "4")
    ((run,),) = assay.rows("SELECT run FROM runs")
    (key, *_, other) = (row[0] for row in assay.rows("SELECT trial FROM trials WHERE state = 'pending'"))
    spool, now = Spool(assay.folder / "assay.db.spool"), datetime.now(UTC)
    for trial in (key, other):
        path = spool.write([Attempt(f"spooled-{trial}", str(trial), str(run), "ok", now, now, 0.1, 0.1, "w", None, {"total": 42.0})])
    path.write_bytes(path.read_bytes()[:-1])
    done = assay("run", suite, "--engine", "inline")
    assert done.returncode == 0, done.stderr
    assert "1 attempts that an earlier run could not store were taken from assay.db.spool" in done.stderr
    assert "damaged" in done.stderr
    assert f"It is set aside as {path.with_suffix('.rejected').relative_to(assay.folder)}." in done.stderr
    assert assay.rows("SELECT trial FROM scores WHERE value = 42.0") == [(key,)]
    assert assay.rows("SELECT COUNT(*) FROM attempts") == [(9,)]


def test_plan_and_ledger_agree(assay: Shell) -> None:
    suite = assay.suite(ADD)
    before = json.loads(assay("plan", suite, "--json").stdout)
    assert (before["trials"], before["todo"], before["done"]) == (9, 9, 0)
    assay("run", suite, "--engine", "inline")
    after = json.loads(assay("plan", suite, "--json").stdout)
    assert (after["trials"], after["todo"], after["done"]) == (9, 0, 9)
    assert {row["trial"] for row in after["rows"]} == {key for (key,) in assay.rows("SELECT trial FROM trials")}


def test_adding_a_seed_runs_only_the_difference(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    assay("run", assay.suite(ADD.replace("seeds: 3", "seeds: 4")), "--engine", "inline")
    assert assay.rows("SELECT COUNT(*) FROM attempts") == [(12,)]


def test_json_events_are_one_object_per_line(assay: Shell) -> None:
    done = assay("run", assay.suite(ADD), "--engine", "inline", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events].count("trial_finished") == 9
    assert events[-1] == {"event": "summary", "planned": 9, "done": 9, "failed": 0, "left": 0}


def test_a_budget_of_trials_stops_early_and_the_next_run_continues(assay: Shell) -> None:
    suite = assay.suite(ADD)
    first = assay("run", suite, "--engine", "inline", "--max-trials", "4")
    assert first.returncode == EXIT_TRIALS_LEFT
    assert "Continue with: assay run suite.yaml --engine inline --max-trials 4\n" in first.stderr
    assert assay.rows("SELECT COUNT(*) FROM trials WHERE state = 'done'") == [(4,)]
    assert assay("run", suite, "--engine", "inline", "--budget", "0.000001s").returncode == EXIT_TRIALS_LEFT
    assert assay("run", suite, "--engine", "inline").returncode == 0
    assert assay.rows("SELECT COUNT(*) FROM trials WHERE state = 'done'") == [(9,)]


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("name: mine\n tasks: [\n", 2, "bad.yaml:2: not valid YAML"),
        ("name: mine\ntasks: [{task: bandit_regret/linear, methods: [ofull]}]\n", 2, "did you mean bandit_regret/oful"),
        ("name: mine\ntasks: [{task: quantization/lm-weights, methods: [{method: rtn, params: {bits: 99}}]}]\n", 2, "parameter bits=99"),
        ("name: mine\nseeds: -1\ntasks: [{task: toy/add, methods: [one]}]\n", 2, "bad.yaml:2: seeds = -1"),
        ("name: mine\ncolour: red\ntasks: [{task: toy/add, methods: [one]}]\n", 2, "bad.yaml:2: unknown key 'colour'"),
    ],
)
def test_a_wrong_suite_is_one_sentence_and_exit_code_2(assay: Shell, text: str, code: int, sentence: str) -> None:
    (assay.folder / "bad.yaml").write_text(text)
    done = assay("run", "bad.yaml")
    assert done.returncode == code
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("db", "sentence"),
    [
        ("missing/folder/assay.db", "missing/folder"),
        (".", "is a folder, not a ledger"),
        ("suite.yaml/assay.db", "suite.yaml/assay.db"),
        ("suite.yaml", "suite.yaml"),
        ("mysql://host/name", "mysql:// is not a ledger's URL"),
    ],
)
def test_an_unusable_ledger_is_one_sentence_and_exit_code_3(assay: Shell, db: str, sentence: str) -> None:
    done = assay("run", assay.suite(ADD), "--engine", "inline", "--db", db)
    assert done.returncode == 3, done.stderr
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_reading_a_ledger_that_does_not_exist_creates_none(assay: Shell) -> None:
    done = assay("leaderboard", "toy", "--db", "none.db")
    assert done.returncode == 3
    assert "none.db" in done.stderr
    assert not (assay.folder / "none.db").exists()


@pytest.mark.parametrize(
    ("how", "outcome", "sentence"),
    [
        ("nan", "invalid", "score"),
        ("undeclared", "invalid", "surprise"),
        ("raises", "error", "ValueError: the toy is broken"),
        ("interrupts", "error", "KeyboardInterrupt"),
        ("hangs", "timeout", ""),
        ("exits", "quarantined", ""),
    ],
)
def test_a_misbehaving_method_fails_alone_with_a_sentence(assay: Shell, how: str, outcome: str, sentence: str) -> None:
    body = f"seeds: 2\ntimeout: 1s\ntasks: [{{task: toy/single, methods: [ok, {{method: bad, params: {{how: {how}, only_seed: 1}}}}]}}]\n"
    suite = assay.suite(body, TOY_PLUGIN)
    done = assay("run", suite, "--engine", "process", "--workers", "2")
    assert done.returncode == 5, done.stderr
    assert "3 of 4 trials done" in done.stderr
    assert sentence in done.stderr
    assert assay.rows("SELECT COUNT(*) FROM trials WHERE state = 'done'") == [(3,)]
    ((state, last),) = assay.rows("SELECT state, outcome FROM trials WHERE state <> 'done'")
    assert outcome in (state, last)
    again = assay("run", suite, "--engine", "process")
    assert again.returncode == 5
    assert "1 failed earlier (--retry-failed tries them again)" in again.stderr


def test_retry_gives_timeouts_a_longer_limit_and_leaves_other_failures_alone(assay: Shell) -> None:
    slow = "{method: ok, params: {seconds: 1.5}}"
    body = f"seeds: 1\ntimeout: 1s\ntasks: [{{task: toy/single, methods: [{slow}, {{method: bad, params: {{how: raises}}}}]}}]\n"
    suite = assay.suite(body, TOY_PLUGIN)
    early = assay("retry", suite, "--json")
    assert "mine: no failed trial to try again, 0 of 2 trials are done, 2 left to `assay run`." in early.stderr
    assert json.loads(early.stdout) == {"event": "summary", "planned": 2, "done": 0, "failed": 0, "left": 2}
    assert assay("run", suite, "--engine", "process").returncode == 5
    for option, value, sentence in (("--outcome", "slow", "'slow' is no outcome"), ("--timeout", "2y", "'2y' is not a duration")):
        wrong = assay("retry", suite, option, value)
        assert wrong.returncode == 2
        assert sentence in wrong.stderr
        assert assay.rows("SELECT DISTINCT state FROM trials") == [("failed",)], "a mistake changes nothing"
    again = assay("retry", suite, "--engine", "process", "--outcome", "timeout", "--timeout", "20x")
    assert again.returncode == 5, "the other failure is still there"
    assert assay.rows("SELECT method, state FROM trials ORDER BY method") == [("toy/bad", "failed"), ("toy/ok", "done")]


def test_a_corrupt_fixture_is_named_set_aside_and_nothing_measured_is_lost(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    (base,) = (assay.folder / "cache" / "fixtures").glob("toy-base-*/base")
    base.write_text("tampered")
    done = assay("run", assay.suite(ADD.replace("seeds: 3", "seeds: 4")), "--engine", "inline")
    assert done.returncode == 0, done.stderr
    assert "Fixture toy-base is damaged" in done.stderr
    assert assay.rows("SELECT COUNT(*) FROM trials WHERE state = 'done'") == [(12,)]
    assert assay.rows("SELECT MAX(value) FROM scores WHERE metric = 'total'") == [(5.0,)]


SLOW = "seeds: 12\ntasks: [{task: toy/single, methods: [{method: ok, params: {seconds: 0.4}}]}]\n"


def done_trials(assay: Shell) -> int:
    try:
        return int(assay.rows("SELECT COUNT(*) FROM trials WHERE state = 'done'")[0][0])  # type: ignore[call-overload]
    except sqlite3.OperationalError:
        return 0


def test_a_cluster_is_named_by_option_or_by_rays_variable_and_only_ray_has_one(assay: Shell) -> None:
    suite = assay.suite(ADD)
    refused = assay("run", suite, "--engine", "process", "--address", "127.0.0.1:1")
    assert refused.returncode == 2
    assert "a cluster needs --engine ray" in " ".join(refused.stderr.replace("│", " ").split())
    assay.environment["RAY_ADDRESS"] = "127.0.0.1:1"
    nobody = assay("run", suite)
    assert nobody.returncode == 3
    assert "Nothing answers at 127.0.0.1:1" in nobody.stderr
    assert assay("run", suite, "--engine", "process").returncode == 0


@pytest.mark.parametrize("engine", ["process", "ray"])
def test_kill_9_in_the_middle_then_the_same_command_runs_every_trial_exactly_once(assay: Shell, engine: str) -> None:
    suite = assay.suite(SLOW, TOY_PLUGIN)
    command = assay.command("run", suite, "--engine", engine, "--workers", "1")
    driver = subprocess.Popen(command, cwd=assay.folder, env=assay.environment, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while done_trials(assay) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    sessions = list(Path("/tmp").glob(f"assay-ray-*/session_*_{driver.pid}"))
    assert len(sessions) == (engine == "ray")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while any(session.parent.exists() for session in sessions):
        assert time.monotonic() < deadline, "its zygote removes what is left"
        time.sleep(0.05)
    before = done_trials(assay)
    assert 2 <= before < 12
    again = assay("run", suite, "--engine", engine, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert done_trials(assay) == 12
    assert assay.rows("SELECT COUNT(*) FROM attempts WHERE accepted = 1") == [(12,)]
    assert assay.rows("SELECT COUNT(*) FROM scores WHERE metric = 'score'") == [(12,)]
    assert assay.rows("SELECT COUNT(*) FROM attempts WHERE outcome = 'ok'") == [(12,)], "nothing that was recorded ran again"


def test_ctrl_c_drains_says_how_to_continue_and_exits_130(assay: Shell) -> None:
    suite = assay.suite(SLOW, TOY_PLUGIN)
    command = assay.command("run", suite, "--engine", "process", "--workers", "1")
    driver = subprocess.Popen(command, cwd=assay.folder, env=assay.environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while done_trials(assay) < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, stderr = driver.communicate(timeout=60)
    assert driver.returncode == 130, stderr
    assert "Stopping: no new trials" in stderr
    assert "Continue with: assay run suite.yaml --engine process --workers 1\n" in stderr, "the same command, its options included"
    assert assay.rows("SELECT COUNT(*) FROM trials WHERE state = 'leased'") == [(0,)]
    assert assay.rows("SELECT status FROM runs") == [("interrupted",)]


def test_ctrl_c_ends_the_wait_for_a_cluster_that_does_not_answer(assay: Shell) -> None:
    """Ray itself tries for minutes, and nothing runs that could be drained."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        suite, address = assay.suite(ADD), f"127.0.0.1:{mute.getsockname()[1]}"
        command = assay.command("run", suite, "--address", address)
        driver = subprocess.Popen(
            command, cwd=assay.folder, env=assay.environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert driver.stderr is not None
        assert "9 trials to do on ray" in driver.stderr.readline()
        driver.send_signal(signal.SIGINT)
        _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130, said
    assert f"Continue with: assay run suite.yaml --address {address}" in said
    assert assay.rows("SELECT status FROM runs") == [("interrupted",)]
    assert assay.rows("SELECT state, COUNT(*) FROM trials") == [("pending", 9)]


def test_show_and_reproduce_a_trial(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    (key,) = assay.rows("SELECT trial FROM trials WHERE method = 'toy/two' AND seed = 1")[0]
    shown = json.loads(assay("show", str(key)[:16], "--json").stdout)
    assert shown["trial"]["trial"] == key
    assert {score["metric"]: score["value"] for score in shown["scores"]}["total"] == 3.0
    assert shown["attempts"][0]["environment"] in shown["environments"]
    again = assay("reproduce", str(key)[:16], "--json")
    assert again.returncode == 0, again.stderr
    compared = {item["metric"]: (item["agreement"], item["step"] is not None) for item in json.loads(again.stdout)}
    assert compared == {"draw": ("bitwise", False), "total": ("bitwise", False), "trace": ("bitwise", True)}
    assert assay.rows(f"SELECT COUNT(*) FROM attempts WHERE trial = '{key}'") == [(2,)]
    assert assay.rows("SELECT COUNT(*) FROM trials WHERE state = 'done'") == [(9,)]


def test_audit_counts_repetitions_by_task_and_condition(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    rows = json.loads(assay("audit", "--trials", "2", "--json").stdout)
    assert [(row["condition"], row["bitwise"], row["different"]) for row in rows] == [
        ("other threads", 2, 0),
        ("other worker", 2, 0),
        ("same worker", 2, 0),
    ]
    assert assay.rows("SELECT count(*), count(DISTINCT trial), max(deviation) FROM audits") == [(6, 2, 0.0)]


def test_runs_keep_the_tags_of_suite_and_command(assay: Shell) -> None:
    assay("run", assay.suite(f"tags: [nightly]\n{ADD}"), "--engine", "inline", "--tag", "größe 2", "--tag", "nightly")
    assert assay.rows("SELECT tag FROM tags JOIN runs ON runs.run = tags.run ORDER BY tag") == [("größe 2",), ("nightly",)]
    for refused in (assay("run", "suite.yaml", "--tag", ""), assay("run", assay.suite(f"tags: ['']\n{ADD}"))):
        assert refused.returncode == 2
        assert "can't be the tag of a run" in refused.stderr.replace("\n", " ")


def test_a_prefix_that_fits_no_trial_or_two_is_refused(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    for prefix, sentence in (("", "is not a trial key"), ("zz", "is not a trial key"), ("0" * 30, "starts with")):
        for command in ("show", "reproduce"):
            done = assay(command, prefix)
            assert done.returncode == 2
            assert sentence in done.stderr
    assert assay.rows("SELECT COUNT(*) FROM runs") == [(1,)], "a mistyped key starts no run"


def test_doctor_says_what_is_fine_and_what_is_not(assay: Shell) -> None:
    done = assay("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert {check["name"] for check in json.loads(done.stdout)} >= {"python", "torch", "ray", "cache", "ledger", "registry"}
    (assay.folder / "assay.db").write_text("not a ledger")
    broken = assay("doctor", "--json")
    assert broken.returncode == 3
    assert [check["name"] for check in json.loads(broken.stdout) if check["level"] == "error"] == ["ledger"]


def test_listings_are_json_where_a_script_reads_them(assay: Shell) -> None:
    tasks = json.loads(assay("tasks", "--json").stdout)
    methods = json.loads(assay("methods", "--json").stdout)
    papers = json.loads(assay("papers", "--json").stdout)
    assert len({task["family"] for task in tasks}) == 5
    assert len(methods) >= 25
    assert len(papers) == 227
    assert {6, 46, 83, 136, 144, 200, 207} <= {paper["paper"] for paper in papers if paper["methods"]}
    served = {paper["paper"] for paper in json.loads(assay("papers", "quantization", "--json").stdout)}
    assert {6, 105, 142, 179, 181} <= served  # the last four belong to other families, their methods and claims to this one
    for listed in ("tasks", "methods"):
        assert not [row for row in json.loads(assay(listed, "--json").stdout) if "  " in row["doc"]]


def test_status_tells_of_the_newest_run(assay: Shell) -> None:
    empty = assay("status")
    assert empty.returncode == 3
    assay("run", assay.suite(ADD), "--engine", "inline", "--max-trials", "4")
    status = json.loads(assay("status", "--json").stdout)
    assert (status["status"], status["planned"], status["states"]) == ("incomplete", 9, {"done": 4, "pending": 5})
    assert status["outcomes"] == {"ok": 4}
    ((key,),) = assay.rows("SELECT MIN(trial) FROM trials WHERE state = 'done'")
    assert assay("reproduce", str(key)).returncode == 0
    assert json.loads(assay("status", "--json").stdout)["run"] == status["run"], "reproducing a trial is no run of a suite"
    assert assay("status", "1999").returncode == 2


def test_a_terminal_that_is_not_utf8_gets_every_table(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    assay.environment |= {"PYTHONIOENCODING": "ascii"}
    board = assay("leaderboard", "toy")
    assert board.returncode == 0, board.stderr
    assert "95 % interval" in board.stdout
    assert json.loads(assay("leaderboard", "toy", "-f", "json").stdout)


def test_a_cache_that_cannot_be_written_is_told_before_any_trial_starts(assay: Shell) -> None:
    (assay.folder / "file").write_text("")
    assay.environment["ASSAY_CACHE"] = str(assay.folder / "file" / "cache")
    suite = assay.suite(ADD)
    refused = assay("run", suite, "--engine", "inline")
    assert refused.returncode == 3
    assert refused.stderr.count("\n") == 1
    assert "(Not a directory); set ASSAY_CACHE to a writable folder." in refused.stderr
    del assay.environment["ASSAY_CACHE"]
    assay.environment["XDG_CACHE_HOME"] = str(assay.folder)
    assert assay("run", suite, "--engine", "inline").returncode == 0, "no trial was marked as failed"


def test_claims_of_a_ledger_without_any_are_an_empty_answer(assay: Shell) -> None:
    assay("run", assay.suite(ADD), "--engine", "inline")
    answer = assay("claims", "-f", "json")
    assert (answer.returncode, "knows no claims yet" in answer.stderr) == (0, True)
    assert json.loads(answer.stdout)["title"] == "Claims"
    assert assay("claims", "--explain", "nothing").returncode == 2
