"""What stands before every page: who may ask (host names, token) and what a browser may do with the answer (headers)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
COOKIE = "assay_token"


def policy(nonce: str) -> str:
    """Content-Security-Policy: only our own style and script, no frames, forms to ourselves."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


class Guard:
    """ASGI middleware. Without a token only loopback host names are answered, so that no web site can reach the ledger by rebinding its
    name; with one, every request must carry it: `Authorization: Bearer`, the cookie, or once `?token=`, which sets the cookie."""

    def __init__(self, app: ASGIApp, token: str = "", hosts: Sequence[str] = LOOPBACK) -> None:
        self.app, self.token, self.hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = policy(nonce)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["X-Frame-Options"] = "DENY"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self._answer(request)(scope, receive, secured)

    def _answer(self, request: Request) -> ASGIApp:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("Only GET: nothing here can be changed.\n", 405)
        if not self.token:
            host = request.headers.get("host", "")
            name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
            if name not in self.hosts:
                return PlainTextResponse(f"This server answers to {', '.join(self.hosts)} only.\n", 403)
            return self.app
        if self._knows(request.query_params.get("token", "")):
            response = RedirectResponse(request.url.remove_query_params("token").path or "/", 303)
            response.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
            return response
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self._knows(request.cookies.get(COOKIE, "")) or (scheme.lower() == "bearer" and self._knows(given)):
            return self.app
        return PlainTextResponse("A token is needed: open the address that `assay serve` printed.\n", 401, {"WWW-Authenticate": "Bearer"})

    def _knows(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())
