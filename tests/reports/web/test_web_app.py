"""`assay serve` over a real ledger: pages, guarded SQL, formats, token, headers, and the command as a process."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from db import open_ledger

testclient = pytest.importorskip("starlette.testclient")
httpx = pytest.importorskip("httpx")

TOKEN = "s3cret-token"


@pytest.fixture
def client(sample_path: Path) -> Iterator[object]:
    from reports.web.app import create_app

    app = create_app(lambda: open_ledger(str(sample_path), read_only=True))
    with testclient.TestClient(app, base_url="http://localhost") as found:
        yield found


@pytest.fixture
def locked(sample_path: Path) -> Iterator[object]:
    from reports.web.app import create_app

    app = create_app(lambda: open_ledger(str(sample_path), read_only=True), token=TOKEN)
    with testclient.TestClient(app, base_url="http://bench.example") as found:
        yield found


def test_index_is_the_report_with_live_links_and_a_fresh_nonce(client: object) -> None:
    pages = [client.get("/") for _ in range(2)]  # type: ignore[attr-defined]
    assert [page.status_code for page in pages] == [200, 200]
    nonces = [re.search(r"script-src 'nonce-([^']+)'", page.headers["content-security-policy"])[1] for page in pages]  # type: ignore[index]
    assert nonces[0] != nonces[1]
    for page, nonce in zip(pages, nonces, strict=True):
        assert "family-quantization" in page.text
        assert 'href="/sql"' in page.text
        assert re.findall(r"<(?:script|style)(?! type=\"application/json\")([^>]*)>", page.text) == [f' nonce="{nonce}"'] * 2


def test_every_answer_carries_security_headers(client: object) -> None:
    for path in ("/", "/runs", "/sql", "/sql.json?q=SELECT+1", "/nowhere", "/sql?q=DROP+TABLE+trials"):
        headers = client.get(path).headers  # type: ignore[attr-defined]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_runs_page_refreshes_and_counts_trials(client: object) -> None:
    text = client.get("/runs").text  # type: ignore[attr-defined]
    assert '<meta http-equiv="refresh" content="5">' in text
    assert "complete" in text
    assert client.get("/report.json").json()["schema"] == 1  # type: ignore[attr-defined]


def test_sql_answers_in_html_json_csv_and_arrow(client: object, sample_path: Path) -> None:
    sql = "SELECT task, metric, value FROM scores WHERE metric = 'regret' ORDER BY value LIMIT 3"
    with open_ledger(str(sample_path), read_only=True) as ledger:
        want = ledger.query(sql).to_pylist()
    html = client.get("/sql", params={"q": sql})  # type: ignore[attr-defined]
    assert html.status_code == 200
    assert "3 rows" in html.text
    assert client.get("/sql.json", params={"q": sql}).json() == want  # type: ignore[attr-defined]
    lines = client.get("/sql.csv", params={"q": sql}).text.splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "task,metric,value"
    assert len(lines) == 4
    arrow = client.get("/sql.arrow", params={"q": sql}).content  # type: ignore[attr-defined]
    assert pa.ipc.open_stream(io.BytesIO(arrow)).read_all().to_pylist() == want


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM trials",
        "SELECT * FROM sqlite_master",
        "SELECT 1; SELECT 2",
        "ATTACH '/tmp/x.db' AS x",
        "PRAGMA table_info(trial)",
        "SELECT load_extension('x')",
        "SELEC 1",
    ],
)
def test_sql_that_is_not_a_read_of_the_views_is_refused_with_a_sentence(client: object, sql: str) -> None:
    for path in ("/sql", "/sql.json"):
        answer = client.get(path, params={"q": sql})  # type: ignore[attr-defined]
        assert answer.status_code == 400
        assert "Traceback" not in answer.text


def test_sql_is_cut_by_rows_and_ended_by_time(client: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from reports.web import app

    monkeypatch.setattr(app, "ROWS", 5)
    answer = client.get("/sql.json", params={"q": "SELECT trial FROM trials"})  # type: ignore[attr-defined]
    assert len(answer.json()) == 5
    assert answer.headers["x-assay-truncated"] == "after 5 rows"
    monkeypatch.setattr(app, "SECONDS", 0.05)
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT COUNT(*) FROM n"
    answer = client.get("/sql.json", params={"q": slow})  # type: ignore[attr-defined]
    assert answer.status_code == 400
    assert "longer than" in answer.text


def test_the_sql_page_offers_queries_that_run_and_names_every_view(client: object) -> None:
    from db.views import VIEWS

    page = client.get("/sql").text  # type: ignore[attr-defined]
    offered = re.findall(r'href="(/sql\?q=[^"]+)"', page)
    assert len(offered) >= 10
    for address in offered:
        assert client.get(address).status_code == 200, address  # type: ignore[attr-defined]
    assert all(f"<summary>{name}: " in page for name in VIEWS)


def test_a_query_cannot_inject_into_the_page(client: object) -> None:
    text = client.get("/sql", params={"q": "SELECT '<script>alert(1)</script>' AS \"<b>x</b>\" --</textarea><script>"}).text  # type: ignore[attr-defined]
    assert "<script>alert" not in text
    assert "<b>x" not in text
    assert "</textarea><script>" not in text


def test_nothing_can_be_posted(client: object) -> None:
    for verb in ("post", "put", "delete", "patch"):
        assert getattr(client, verb)("/sql").status_code == 405


def test_without_a_token_other_host_names_are_refused(sample_path: Path) -> None:
    from reports.web.app import create_app

    app = create_app(lambda: open_ledger(str(sample_path), read_only=True))
    with testclient.TestClient(app, base_url="http://evil.example") as other:
        assert other.get("/").status_code == 403
    with testclient.TestClient(app, base_url="http://127.0.0.1:8787") as local:
        assert local.get("/runs").status_code == 200


def test_with_a_token_every_way_in_is_checked(locked: object) -> None:
    get = locked.get  # type: ignore[attr-defined]
    assert get("/runs").status_code == 401
    assert get("/runs", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert get("/runs?token=wrong").status_code == 401
    assert get("/runs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    first = get(f"/runs?token={TOKEN}", follow_redirects=False)
    assert first.status_code == 303
    assert TOKEN not in first.headers["location"]
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert get("/runs").status_code == 200  # the cookie stays with the client


def test_the_report_is_made_again_only_when_the_ledger_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sample_ledger import Result, fill, robust_training

    from db.records import Catalogue, SubmissionRow
    from reports.web import app

    calls = []
    real = app.report
    monkeypatch.setattr(app, "report", lambda ledger: calls.append(1) or real(ledger))
    path = str(tmp_path / "live.db")
    with open_ledger(path, create=True) as ledger:
        fill(ledger, *robust_training(2))
        pages = app.Pages(lambda: open_ledger(path, read_only=True))
        pages.document()
        pages.document()
        assert len(calls) == 1
        fill(ledger, Catalogue(), [Result("robust_training/digits-linf", "robust_training/new", 0, {"robust_accuracy": 0.5})], "later")
        assert "robust_training/new" in str(pages.document())
        ledger.record_submission(SubmissionRow("s-1", "coins", "ann", "ladder", 0.5, True, 0.01, 99.0))
        assert "coins" in str(pages.document())
    assert len(calls) == 3


def test_assay_serve_answers_on_a_free_port_and_stops(sample_path: Path) -> None:
    command = [sys.executable, "-m", "harness.cli", "serve", "--port", "0", "--db", str(sample_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"})
    try:
        assert process.stderr is not None
        address = re.search(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())[0]  # type: ignore[index]
        for _ in range(100):
            try:
                answer = httpx.get(address + "sql.json", params={"q": "SELECT COUNT(*) AS n FROM trials"}, timeout=30)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        assert json.loads(answer.text) == [{"n": 215}]
    finally:
        process.terminate()
        process.wait(30)


def test_serving_beyond_loopback_makes_up_a_token(sample_path: Path) -> None:
    command = [sys.executable, "-m", "harness.cli", "serve", "--host", "0.0.0.0", "--port", "0", "--db", str(sample_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert re.search(r"\?token=[\w-]{20,}", process.stderr.readline())
    finally:
        process.terminate()
        process.wait(30)
