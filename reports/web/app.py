"""The web application: pages over a ledger that is opened read-only for each request."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from db.errors import LedgerError, QueryRefused
from db.formats import write_rows
from db.ledger import Ledger
from db.reading import Answer, ask
from reports.anchors import anchor
from reports.boards import families
from reports.document import Cell, Column, Document, Row, Table
from reports.errors import ReportError
from reports.html.page import THEME, navigation, render, shell
from reports.html.tables import table_html
from reports.ledger_pages import status_cell
from reports.numbers import duration
from reports.render.data import render_json
from reports.report import report
from reports.web.security import LOOPBACK, Guard
from reports.web.sql_page import LONGEST, ROWS, SECONDS, TYPES, sql_page

LINKS = (("Report", "/"), ("Runs now", "/runs"), ("SQL", "/sql"))

#: How often the page of running work asks again, in seconds.
REFRESH = 5

_STATE = (
    "SELECT (SELECT COUNT(*) FROM trials) AS trials, (SELECT COUNT(*) FROM attempts) AS attempts, "
    "(SELECT COUNT(*) FROM verdicts) AS verdicts, (SELECT COUNT(*) FROM submissions) AS submissions, (SELECT COUNT(*) FROM runs) AS runs, "
    "(SELECT COUNT(*) FROM runs WHERE finished IS NULL) AS running"
)


class Pages:
    """The handlers. `open_` opens the ledger read-only; each request opens and closes its own."""

    def __init__(self, open_: Callable[[], Ledger]) -> None:
        self.open = open_
        self._lock = threading.Lock()
        self._made: tuple[Any, Document] | None = None

    def document(self) -> Document:
        """The report of the ledger as it is now; made again only when trials, attempts, verdicts, runs or submissions were added."""
        with self.open() as ledger, self._lock:
            state = tuple(ledger.query(_STATE).to_pylist()[0].values())
            if self._made is None or self._made[0] != state:
                self._made = state, report(ledger)
            return self._made[1]

    def index(self, request: Request) -> Response:
        return HTMLResponse(render(self.document(), nonce=request.state.nonce, links=LINKS[1:]))

    def data(self, request: Request) -> Response:
        return Response(render_json(self.document()), media_type="application/json")

    def runs(self, request: Request) -> Response:
        with self.open() as ledger:
            table = running(ledger)
        head = f'<meta http-equiv="refresh" content="{REFRESH}">\n'
        summary = f'<p class="summary">Asked again every {REFRESH} seconds.</p>'
        main = f'<section class="page open"><h1>Runs</h1>{summary}{table_html(table)}</section>'
        return HTMLResponse(shell("Runs", _sidebar(), main, nonce=request.state.nonce, head=head))

    def sql(self, request: Request) -> Response:
        query = request.query_params.get("q", "")[:LONGEST]
        if query.strip():
            answer, error = self._ask(query)
            main = sql_page(query, answer, error)
        else:
            with self.open() as ledger:
                main, error = sql_page("", None, "", families(ledger)), ""
        return HTMLResponse(shell("SQL", _sidebar(), main, nonce=request.state.nonce), 400 if error else 200)

    def rows(self, request: Request) -> Response:
        """The rows of `?q=` as JSON, CSV or Arrow."""
        format, media = TYPES[request.path_params["format"]]
        query = request.query_params.get("q", "")
        answer, error = self._ask(query[:LONGEST])
        if answer is None:
            return PlainTextResponse(error + "\n", 400)
        sink = io.BytesIO()
        write_rows(answer.names, answer.rows, format, sink, sql=query)
        headers = {"Content-Disposition": f'attachment; filename="rows.{request.path_params["format"]}"'}
        if answer.truncated:
            headers["X-Assay-Truncated"] = f"after {ROWS} rows"
        return Response(sink.getvalue(), media_type=media, headers=headers)

    def _ask(self, query: str) -> tuple[Answer | None, str]:
        try:
            with self.open() as ledger:
                return ask(ledger.surface, query, timeout=SECONDS, limit=ROWS), ""  # type: ignore[attr-defined]
        except QueryRefused as error:
            return None, str(error)


def create_app(open_: Callable[[], Ledger], *, token: str = "", hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """The application. Without a token it answers loopback host names only (see `reports.web.security.Guard`)."""
    pages = Pages(open_)
    routes = [
        Route("/", pages.index),
        Route("/report.json", pages.data),
        Route("/runs", pages.runs),
        Route("/sql", pages.sql),
        *(Route(f"/sql.{name}", _with_format(pages.rows, name)) for name in TYPES),
    ]
    errors = {LedgerError: _said, ReportError: _said}
    return Starlette(routes=routes, middleware=[Middleware(Guard, token=token, hosts=hosts)], exception_handlers=errors)


def _with_format(handler: Callable[[Request], Response], name: str) -> Callable[[Request], Response]:
    def handle(request: Request) -> Response:
        request.scope["path_params"] = {"format": name}
        return handler(request)

    return handle


def _said(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 503 if isinstance(error, LedgerError) else 400)


def _sidebar() -> str:
    return f'<p class="brand">Assay</p><p class="subtitle">Live from the ledger</p><nav aria-label="Pages">{navigation(LINKS)}</nav>{THEME}'


def running(ledger: Ledger) -> Table:
    """The newest runs with how far they are."""
    runs = ledger.query(
        "SELECT run, suite, engine, planned, started, finished, status FROM runs ORDER BY started DESC LIMIT 30"
    ).to_pylist()
    counts = {
        row["run"]: row
        for row in ledger.query(
            "SELECT rt.run, SUM(CASE WHEN t.state = 'done' THEN 1 ELSE 0 END) AS done, "
            "SUM(CASE WHEN t.state IN ('failed', 'quarantined') THEN 1 ELSE 0 END) AS failed, "
            "SUM(CASE WHEN t.state = 'leased' THEN 1 ELSE 0 END) AS leased, SUM(t.seconds) AS seconds "
            "FROM run_trials rt JOIN trials t ON t.trial = rt.trial GROUP BY rt.run"
        ).to_pylist()
    }
    heads = (
        Column("run", "run"),
        Column("suite", "suite"),
        Column("status", "status"),
        Column("started", "started (UTC)"),
        Column("done", "done", "right"),
        Column("planned", "of", "right"),
        Column("share", "progress", "right"),
        Column("leased", "running", "right"),
        Column("failed", "failed", "right"),
        Column("seconds", "compute", "right"),
    )
    rows = []
    for run in runs:
        found = counts.get(run["run"], {})
        done, failed, leased = (int(found.get(name) or 0) for name in ("done", "failed", "leased"))
        seconds = float(found.get("seconds") or 0.0)
        rows.append(
            Row(
                (
                    Cell(str(run["run"])[:16], run["run"], href=f"/#{anchor('run', run['run'])}"),
                    Cell(run["suite"], run["suite"]),
                    status_cell(run["status"], "running"),
                    Cell(str(run["started"])[:19].replace("T", " "), str(run["started"])),
                    Cell(f"{done:,}", done),
                    Cell(f"{run['planned']:,}", run["planned"], tone="muted"),
                    Cell(f"{(done + failed) / run['planned']:.0%}" if run["planned"] else "", tone="muted"),
                    Cell(f"{leased:,}" if leased else "", leased),
                    Cell(f"{failed:,}" if failed else "", failed, tone="bad" if failed else "plain"),
                    Cell(duration(seconds), seconds),
                )
            )
        )
    return Table("running", "Runs", heads, tuple(rows))
