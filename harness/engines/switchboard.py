"""Direct connections between a coordinator and its actors: calls and results travel on them, at a tenth of what an actor call costs.

Ray places actors, starts them and knows when one is gone; only the traffic goes past it. An actor on the coordinator's own node reports at
a Unix socket, others by TCP as Ray itself does. An actor that can't (a firewall, an encrypted cluster) gets its calls through Ray.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.engines.wire import Line

#: A connection that has not said who it is after so long is closed, and so is the oldest when there are so many.
STRANGER_SECONDS, STRANGERS = 10.0, 64

#: Between two attempts of an actor to reach its coordinator, and how long one may take.
REDIAL_SECONDS, DIAL_SECONDS = 0.5, 5.0

TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Number:
    """Where an actor reports, and the secret by which it is known: sent through Ray, so that only who may use the cluster has it."""

    token: bytes
    node: str  #: of the coordinator
    path: str  #: for actors on that node
    host: str  #: for others; empty: they can't
    port: int


class Switchboard:
    """The coordinator's side. `host`: its address on the cluster's network; without it only actors on `node` connect."""

    def __init__(self, path: Path, node: str, host: str | None) -> None:
        self._path, self._node, self._host, self._port = path, node, "", 0
        self._listeners = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)]
        self._listeners[0].bind(str(path))
        self._listeners[0].listen(1024)
        if host:
            with contextlib.suppress(OSError):  # then their calls go through Ray
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                listener = socket.create_server((host, 0), family=family, backlog=1024)
                self._listeners.append(listener)
                self._host, self._port = host, listener.getsockname()[1]
        for listener in self._listeners:
            listener.setblocking(False)
        self._strangers: dict[socket.socket, tuple[float, bytearray]] = {}  #: when they called, and what they have said

    def number(self) -> Number:
        """A number for a new actor."""
        return Number(secrets.token_bytes(TOKEN_BYTES), self._node, str(self._path), self._host, self._port)

    def filenos(self) -> list[int]:
        """Descriptors to wait for."""
        return [sock.fileno() for sock in (*self._listeners, *self._strangers)]

    def arrivals(self) -> list[tuple[bytes, Line]]:
        """Token and line of everybody who has connected and said who he is since the last time."""
        now = time.monotonic()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                while True:
                    stranger, _ = listener.accept()
                    stranger.setblocking(False)
                    self._strangers[stranger] = (now, bytearray())
        found = []
        for stranger, (since, said) in list(self._strangers.items()):
            gone = now - since > STRANGER_SECONDS or len(self._strangers) > STRANGERS
            try:
                part = stranger.recv(TOKEN_BYTES - len(said))
                said += part
                gone = gone or not part
            except BlockingIOError:
                pass
            except OSError:
                gone = True
            if len(said) == TOKEN_BYTES:
                found.append((bytes(said), _line(stranger)))
            elif gone:
                stranger.close()
            else:
                continue
            del self._strangers[stranger]
        return found

    def close(self) -> None:
        for sock in (*self._listeners, *self._strangers):
            sock.close()
        self._strangers.clear()
        self._path.unlink(missing_ok=True)


def dial(number: Number, node: str, wanted: Callable[[], bool]) -> Line | None:
    """The actor's side, on Ray node `node`: a line to the coordinator as soon as one can be had; None when it is not `wanted` any more."""
    while wanted():
        with contextlib.suppress(OSError):
            if node == number.node and os.path.exists(number.path):
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                sock.connect(number.path)
            elif number.port:
                sock = socket.create_connection((number.host, number.port), timeout=DIAL_SECONDS)
            else:
                return None
            sock.sendall(number.token)
            return _line(sock)
        time.sleep(REDIAL_SECONDS)
    return None


def _line(sock: socket.socket) -> Line:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Line(sock)
