"""How coordinator and worker processes talk: length-prefixed pickles of plain tuples over a stream socket.

Rows are tuples rather than the records of `base`, because pickling a dataclass costs several times as much and a no-op trial lives for
some 30 microseconds.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.engines.base import SHORT_SECONDS, Call, FixtureUnit, TrialResult, TrialUnit, Unit, UnitDone

if TYPE_CHECKING:  # actors load this module, and need nothing of what runs trials
    from harness.worker import Executed

#: Bytes kept of each of a unit's two output streams.
TAIL_BYTES = 8192

_HEADER = struct.Struct("<I")

#: Read at a time: as much as a socket usually holds, and small enough to cost no fresh pages.
_PART = 1 << 16

#: (unit index, started as a timestamp, seconds, cpu seconds, stdout, stderr, one tuple of TrialResult's fields per key)
Row = tuple[int, float, float, float, str, str, tuple[tuple[Any, ...], ...]]


def to_row(index: int, done: Executed, stdout: str, stderr: str) -> Row:
    results = tuple(
        (result.key, result.outcome, result.metrics, result.curves, result.info, result.error, result.traceback) for result in done.results
    )
    return (index, done.started, done.seconds, done.cpu_seconds, stdout, stderr, results)


def pack_call(call: Call) -> tuple[Any, ...]:
    """What a supervisor must know of a call (see Load), and the units as bytes for the worker: only there they are unpacked."""
    units = tuple(
        (unit.task, unit.task_params, unit.method, unit.method_params, unit.seeds, unit.keys, unit.timeout)
        if isinstance(unit, TrialUnit)
        else (unit.fixture, unit.params, unit.key, unit.timeout)
        for unit in call.units
    )
    limits = tuple(unit.timeout for unit in call.units)
    return call.id, limits, call.plugins, call.budget, call.affinity, call.seconds <= SHORT_SECONDS, pickle.dumps(units, protocol=5)


def unpack_units(body: bytes) -> tuple[Unit, ...]:
    """The units of `pack_call`."""
    return tuple(TrialUnit(*fields) if len(fields) == 7 else FixtureUnit(*fields) for fields in pickle.loads(body))


@dataclass(frozen=True, slots=True)
class Load:
    """A packed call as a supervisor holds it: the time limit per unit and what it passes on."""

    id: int
    limits: tuple[float, ...]
    plugins: tuple[str, ...]
    budget: float
    affinity: str
    short: bool
    units: bytes


@dataclass(frozen=True, slots=True)
class Rows:
    """Units that a worker has finished, packed as they travelled. `saved` holds, per unit, the output that was cut off before the end.
    `environment` None: the same as in the Rows before."""

    call: int
    worker: str
    environment: Mapping[str, Any] | None
    packed: bytes
    saved: Mapping[int, tuple[str, str]]

    def events(self, environment: Mapping[str, Any] | None = None) -> list[UnitDone]:
        """One UnitDone per row; `environment` is for Rows that came without one."""
        environment = self.environment or environment or {}
        rows: list[Row] = pickle.loads(self.packed)
        for number, row in enumerate(rows):
            if cut := self.saved.get(row[0]):
                stdout, stderr = ((before + after)[-TAIL_BYTES:] for before, after in zip(cut, row[4:6], strict=True))
                rows[number] = (*row[:4], stdout, stderr, row[6])
        return [
            UnitDone(
                self.call,
                index,
                tuple(TrialResult(*fields) for fields in results),
                datetime.fromtimestamp(started, UTC),
                datetime.fromtimestamp(started + seconds, UTC),
                seconds,
                cpu_seconds,
                self.worker,
                environment,
                stdout,
                stderr,
            )
            for index, started, seconds, cpu_seconds, stdout, stderr, results in rows
        ]


def send(sock: socket.socket, message: object) -> None:
    """Send one message, blocking until the kernel has all of it."""
    body = pickle.dumps(message, protocol=5)
    sock.sendall(_HEADER.pack(len(body)) + body)


def receive(sock: socket.socket) -> Any:
    """One message, blocking; None when the other side is gone."""
    header = _read_exactly(sock, _HEADER.size)
    if header is None:
        return None
    body = _read_exactly(sock, *_HEADER.unpack(header))
    return None if body is None else pickle.loads(body)


def _read_exactly(sock: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = sock.recv(min(size - len(parts), 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)


class Line:
    """The end of a connection that never blocks: whoever supervises must not wait for somebody who has stopped reading or writing.

    What the kernel does not take at once waits here; call `flush` when the socket can be written again (see `wait`).
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock, self._in, self._out = sock, bytearray(), bytearray()
        self.closed = False  #: the other side is gone, and everything it sent has been read

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def unsent(self) -> bool:
        """Some bytes wait for the other side to read."""
        return bool(self._out)

    def send(self, message: object) -> None:
        """Send one message, now or when the kernel has room. To somebody who is gone nothing is sent: `closed` will say so."""
        body = pickle.dumps(message, protocol=5)
        self._out += _HEADER.pack(len(body))
        self._out += body
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except BlockingIOError:
                return
            except OSError:
                self._out.clear()
                return
            del self._out[:sent]

    def messages(self) -> Iterator[Any]:
        """Every complete message that has arrived."""
        while not self.closed:
            try:
                part = self._sock.recv(_PART)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            if not part:
                self.closed = True
                break
            self._in += part
            if len(part) < _PART:  # that was all: asking once more would cost as much again
                break
        while len(self._in) >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._in)
            if len(self._in) < _HEADER.size + size:
                break
            body = bytes(memoryview(self._in)[_HEADER.size : _HEADER.size + size])
            del self._in[: _HEADER.size + size]
            yield pickle.loads(body)

    def close(self) -> None:
        self.closed = True
        self._sock.close()


def wait(reading: Iterable[int], timeout: float, writing: Iterable[int] = ()) -> list[int]:
    """Those descriptors that can be read or written, waiting up to `timeout` seconds for the first."""
    poller = select.poll()
    for fd in reading:
        poller.register(fd, select.POLLIN)
    for fd in writing:
        poller.register(fd, select.POLLIN | select.POLLOUT)
    return [fd for fd, _ in poller.poll(max(0.0, timeout) * 1000)]


def read_tail(fd: int, limit: int) -> str:
    """The last `limit` bytes of a file as text."""
    size = os.lseek(fd, 0, os.SEEK_END)  # a third of what fstat costs, and these files are written by appending only
    if not size:
        return ""
    tail = os.pread(fd, limit, max(0, size - limit)).decode(errors="replace")
    return tail if size <= limit else f"[... {size - limit} bytes before]\n{tail}"
