"""`assay submit` and what follows it, against a real cluster with token authentication that the tests start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from db import open_ledger
from harness.cluster import upload
from harness.cluster.checks import Software, check_software
from harness.cluster.job import PARCEL_SECONDS, pack
from harness.cluster.pull import PIECE_BYTES
from harness.errors import ClusterError
from harness.suite import load_suite
from tests.db.conftest import Server
from tests.harness.heads import Head, Laptop
from tests.harness.test_cli import PLAN_PLUGIN, TOY_PLUGIN

pytest.importorskip("aiohttp", reason="the extra `cluster` is not installed")

ADD = f"name: mine\nplugins: [{PLAN_PLUGIN}]\nseeds: 3\ntasks: [{{task: toy/add, methods: [one, two]}}]\n"
SLOW = f"""
name: slow
plugins: [{TOY_PLUGIN}]
seeds: 40
tasks: [{{task: toy/single, methods: [{{method: ok, params: {{seconds: 1.0}}}}]}}]
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    cluster = Head()
    cluster.wait()
    yield cluster
    cluster.close()


@pytest.fixture
def laptop(tmp_path: Path, head: Head) -> Laptop:
    return Laptop(tmp_path, head)


@pytest.mark.timeout(600)
def test_a_suite_is_submitted_followed_pulled_and_merged_and_a_second_submission_finds_it_done(laptop: Laptop, head: Head) -> None:
    commits = [_commit()]
    sent = laptop("submit", laptop.suite(ADD), "--json", "--tag", "nightly")
    commits.append(_commit())  # somebody may have committed meanwhile
    assert sent.returncode == 0, sent.stderr
    job = json.loads(sent.stdout)["job"]
    followed = laptop("logs", job, "-f")
    assert "6 of 6 trials done" in followed.stdout, followed
    status = json.loads(laptop("status", job, "--json").stdout)
    assert (status["state"], status["exit_code"], status["run"]["states"]) == ("SUCCEEDED", 0, {"done": 6})
    pulled = laptop("pull", job, "--db", "local.db", "--json")
    assert json.loads(pulled.stdout)["attempts"] == 6, pulled.stderr
    assert json.loads(laptop("pull", job, "--db", "local.db", "--json").stdout)["attempts"] == 0
    assert laptop.count("SELECT COUNT(*) FROM scores WHERE metric = 'total'") == "6"
    assert laptop.count(f"SELECT COUNT(*) FROM tags WHERE tag IN ('nightly', '{job}')") == "2"
    # the ledger names the commit that this machine sent, although the cluster has no checkout
    recorded = laptop("sql", "SELECT DISTINCT git_commit FROM environments", "--db", "local.db", "-f", "csv").stdout.split()[1:]
    assert set(recorded) <= set(commits), (recorded, commits)
    assert list((head.home / ".assay" / "parcels").iterdir()) == []
    again = laptop("submit", "suite.yaml", "-f", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["trials"] == 6, "the log is for people"
    assert "nothing to do, 6 of 6 trials are done" in again.stderr
    nothing = laptop("pull", "--ledger", "~/nowhere.db", "--db", "new.db")
    assert nothing.returncode == 3
    assert "The ledger ~/nowhere.db does not exist on" in nothing.stderr
    assert not (laptop.folder / "new.db").exists()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [(), ("--now",)], ids=["drained", "at-once"])
@pytest.mark.slow
def test_a_cancelled_job_leaves_a_ledger_with_which_the_next_one_continues(laptop: Laptop, how: tuple[str, ...]) -> None:
    suite = laptop.suite(SLOW.replace("name: slow", f"name: slow{len(how)}"))
    job = json.loads(laptop("submit", suite, "--json").stdout)["job"]
    deadline = time.monotonic() + 120
    while (json.loads(laptop("status", job, "--json").stdout)["run"] or {"states": {}})["states"].get("done", 0) < 2:
        assert time.monotonic() < deadline, laptop("logs", job).stdout
    cancelled = laptop("cancel", job, *how)
    assert "submitting again continues" in cancelled.stderr, cancelled
    states = json.loads(laptop("status", job, "--json").stdout)["run"]["states"]
    assert set(states) == {"done", "pending"}
    assert laptop("cancel", job).stderr.startswith(f"{job} is over already")
    again = laptop("submit", suite, "-f")
    assert again.returncode == 0, again.stdout
    assert f"{states['pending']} trials to do" in again.stdout
    laptop("pull", job, "--db", "local.db")
    assert laptop.count("SELECT COUNT(*) FROM attempts WHERE accepted = 1") == "40"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_ledger_of_several_pieces_arrives_whole(laptop: Laptop) -> None:
    """30 curves of 100,000 points that don't compress: the export is larger than one piece that a log carries."""
    curves = f"name: curves\nplugins: [{TOY_PLUGIN}]\nseeds: 30\ntasks: [{{task: toy/curve, methods: [ok]}}]\n"
    sent = laptop("submit", laptop.suite(curves), "-f", "--json")
    assert sent.returncode == 0, sent.stderr
    job = re.search(r'"job": "([^"]+)"', sent.stdout)
    assert job is not None
    pulled = laptop("pull", job[1], "--db", "local.db", "--json")
    assert json.loads(pulled.stdout)["attempts"] == 30, pulled.stderr
    assert laptop.count("SELECT COUNT(*) FROM curves") == "3000000"
    assert laptop("export", "--to", "bundle", "--db", "local.db").returncode == 0
    size = sum(path.stat().st_size for path in (laptop.folder / "bundle").rglob("*"))
    assert size > 1.2 * PIECE_BYTES, "it would have fitted into one piece"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_may_record_in_postgresql_whose_password_nobody_sees(laptop: Laptop, postgres: Server) -> None:
    url = postgres.new_database("assay_template")
    secret = url.replace("postgres@/", "postgres:wonderland@/")  # the server trusts its socket: any password will do
    sent = laptop("submit", laptop.suite(ADD), "--db", secret, "-f", "--json")
    assert sent.returncode == 0, sent.stderr + sent.stdout
    said = json.JSONDecoder().raw_decode(sent.stdout)[0]
    with open_ledger(url) as ledger:
        assert ledger.query("SELECT COUNT(*) AS n FROM trials WHERE state = 'done'").to_pylist() == [{"n": 6}]
        assert ledger.query("SELECT COUNT(*) AS n FROM tags WHERE tag = :tag", {"tag": said["job"]}).to_pylist() == [{"n": 1}]
        recorded = str(ledger.query("SELECT * FROM runs").to_pylist())
    status, hint = laptop("status", said["job"], "--json"), laptop("status", said["job"])
    assert json.loads(status.stdout)["run"] is None
    assert "its trials are shown with --db and the ledger's URL" in hint.stdout
    shown = laptop("status", said["job"], "--json", "--db", secret)
    assert json.loads(shown.stdout)["run"]["states"] == {"done": 6}
    for text in (sent.stdout, sent.stderr, status.stdout, hint.stdout, shown.stdout, recorded):
        assert "wonderland" not in text
    pulled = laptop("pull", said["job"], "--db", "local.db")
    assert pulled.returncode == 3
    assert "there is nothing to pull, read it with --db and that URL" in pulled.stderr
    assert laptop("submit", "suite.yaml", "--db", secret, "-f").stdout.count("nothing to do, 6 of 6 trials are done") == 1
    more = laptop("submit", laptop.suite(ADD.replace("seeds: 3", "seeds: 4")), "--db", url, "-f", "--json")
    job = json.JSONDecoder().raw_decode(more.stdout)[0]["job"]
    assert json.loads(laptop("status", job, "--json").stdout)["run"]["states"] == {"done": 8}, "without a password the head node reads it"


def test_the_token_and_the_job_must_be_known_to_the_cluster(laptop: Laptop, head: Head, tmp_path: Path) -> None:
    assert "knows no job 'job-nobody'" in laptop("logs", "job-nobody").stderr
    wrong = Laptop(tmp_path, head, RAY_AUTH_TOKEN="0" * 32)("logs", "job-nobody")
    assert (wrong.returncode, "does not accept the token from RAY_AUTH_TOKEN" in wrong.stderr) == (3, True), wrong.stderr
    missing = Laptop(tmp_path, head, RAY_AUTH_TOKEN="")("logs", "job-nobody")
    assert "asks for a token: set RAY_AUTH_TOKEN" in missing.stderr
    (tmp_path / "token").write_text(head.token + "\n")
    from_file = Laptop(tmp_path, head, RAY_AUTH_TOKEN="", RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"))("logs", "job-nobody")
    assert "knows no job" in from_file.stderr
    for complaint in (wrong, missing):
        assert complaint.stderr.count("\n") == 1, complaint.stderr


def test_shapes_and_another_assay_are_refused_before_anything_is_sent(laptop: Laptop, tmp_path: Path, head: Head) -> None:
    suite = laptop.suite(ADD.replace("name: mine", "name: refused") + "resources: {cpus: 64}\n")
    assert "No node of the Ray cluster can carry a worker with 64 CPU (the nodes have: 2 CPU)" in laptop("submit", suite).stderr
    other = tmp_path / "other"
    (other / "assay_bench-9.9.dist-info").mkdir(parents=True)
    (other / "assay_bench-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: assay-bench\nVersion: 9.9\n")
    elsewhere = Laptop(tmp_path, head, PYTHONPATH=os.pathsep.join([str(other), laptop.environment["PYTHONPATH"]]))
    said = elsewhere("submit", laptop.suite(ADD.replace("name: mine", "name: refused")), "--installed").stderr
    assert re.search(r"has (no Assay|Assay \S+) installed, this machine has 9\.9", said), said
    assert not (head.home / ".assay" / "refused").exists()


def test_an_upload_larger_than_ray_takes_names_its_largest_files(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path, RAY_max_grpc_message_size="200000")
    (tmp_path / "fat.py").write_text(PLAN_PLUGIN.read_text() + f"\nDATA = '{os.urandom(300_000).hex()}'\n")
    said = laptop("submit", laptop.suite(ADD.replace(str(PLAN_PLUGIN), "fat.py")))
    assert said.returncode == 3
    assert re.search(r"more than the 195 KiB that Ray takes; its largest files are plugins/0/fat\.py \(\d+ KiB\)", said.stderr), said.stderr


def test_nothing_at_the_address_and_something_else_there_are_told_apart(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path)
    assert "No Ray dashboard answers at http://127.0.0.1:9" in laptop("logs", "job-x", "--address", "127.0.0.1:9").stderr
    with _dashboard({}) as url:
        assert "is no Ray dashboard" in laptop("logs", "job-x", "--address", url).stderr


def test_a_cluster_with_another_ray_is_refused(tmp_path: Path) -> None:
    with _dashboard({"/api/version": {"version": "4", "ray_version": "2.9.0"}}) as url:
        laptop = Laptop(tmp_path)
        assert re.search(
            r"runs Ray 2\.9\.0, this machine 2\.\d+\.\d+; use the same", laptop("submit", laptop.suite(ADD), "--address", url).stderr
        )


def test_another_python_minor_and_missing_packages_are_named() -> None:
    mine = Software("2.60.0", "3.11.7", {"assay-bench": "0.1.0"})
    check_software("http://h", Software("2.60.0", "3.11.2", {"assay-bench": None, "torch": "2.11"}), mine, installed=False)
    with pytest.raises(ClusterError, match=r"runs Python 3\.12\.1, this machine 3\.11\.7"):
        check_software("http://h", Software("2.60.0", "3.12.1", {"assay-bench": None}), mine, installed=False)
    with pytest.raises(ClusterError, match=r"lacks alembic, torch; install"):
        check_software(
            "http://h", Software("2.60.0", "3.11.7", {"assay-bench": None, "torch": None, "alembic": None}), mine, installed=False
        )


def test_an_upload_carries_code_suite_and_plugins_and_is_the_same_file_twice(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(ADD)
    loaded = load_suite(str(tmp_path / "suite.yaml"))
    for name in ("one.zip", "two.zip"):
        upload.pack([*upload.code(), *upload.suite(loaded, ["tag"])], tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(tmp_path / "one.zip"), str(tmp_path / "there")], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "there")}
    command = [sys.executable, "-m", "harness.cli", "plan", "suite.yaml", "--json"]
    planned = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "there", env=environment)
    assert json.loads(planned.stdout)["todo"] == 6, planned
    where = [sys.executable, "-c", "import harness, importlib.metadata as m; print(harness.__file__, m.version('assay-bench'))"]
    found = subprocess.run(where, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout.split()
    assert found == [str(tmp_path / "there" / "harness" / "__init__.py"), upload.version()]


def test_an_export_that_nobody_fetched_is_removed_a_day_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    open_ledger(tmp_path / "assay.db", create=True).close()
    parcels = tmp_path / ".assay" / "parcels"
    first, second = (str(pack("~/assay.db")["parcel"]) for _ in range(2))
    assert {path.name for path in parcels.iterdir()} == {first, second}, "somebody may be fetching the first"
    (parcels / "scratch").mkdir()
    for name in (first, "scratch"):
        os.utime(parcels / name, (time.time() - 2 * PARCEL_SECONDS,) * 2)
    third = str(pack("~/assay.db")["parcel"])
    assert {path.name for path in parcels.iterdir()} == {second, third}


def _commit() -> str:
    """This checkout's commit; empty where there is none."""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()


class _dashboard:
    """A server that gives these JSON answers by path, and status 404 otherwise."""

    def __init__(self, answers: dict[str, object]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path)
                self.send_response(404 if answer is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
