"""`assay serve`: the report live from the ledger, on this machine only unless asked otherwise."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.common import DEFAULT_DB, DbOption, open_ledger, stderr
from harness.errors import EngineError


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; beyond loopback a token is required.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8787,
    token: Annotated[str, typer.Option(envvar="ASSAY_TOKEN", help="Token that every request must carry; made up beyond loopback.")] = "",
    db: DbOption = DEFAULT_DB,
) -> None:
    """Serve the report, the state of runs and a read-only SQL page; Ctrl-C ends it."""
    try:
        import uvicorn

        from reports.web.app import create_app
    except ImportError as error:
        raise EngineError(f"`assay serve` needs the extra `serve` (pip install 'assay-bench[serve]'): {error}.") from error
    import secrets
    import socket

    from reports.web.security import LOOPBACK

    with open_ledger(db) as ledger:  # a wrong --db is said now, not on the first request
        shown = ledger.url
    local = host in LOOPBACK
    token = token or ("" if local else secrets.token_urlsafe(24))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(100)  # whoever opens the address as soon as it is printed waits instead of being refused
    except OSError as error:
        raise EngineError(f"Can't listen on {host} port {port}: {error.strerror or error}; choose another with --port.") from error
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
    stderr().print(f"Serving {shown} on {address} (Ctrl-C ends it)", markup=False, soft_wrap=True)
    app = create_app(lambda: open_ledger(db), token=token)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])
