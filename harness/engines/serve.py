"""The worker process: takes calls from its supervisor, executes them unit by unit and reports.

The supervisor learns what is being executed from a few bytes of shared memory (`Marker`), so it knows the culprit even when the process
is gone a microsecond later, and no message has to be sent per unit.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from db.records import Outcome
from harness.engines.base import TrialResult, TrialUnit, Unit
from harness.engines.marker import Marker
from harness.engines.wire import TAIL_BYTES, Row, read_tail, receive, send, to_row, unpack_units
from harness.worker import Executed, Executor, SoftStop

#: Finished rows wait at most this long in the worker, so that a batch of no-op trials travels in few messages.
FLUSH_SECONDS, FLUSH_ROWS = 0.05, 500

#: A unit that took this long is reported at once: a message is cheap beside it, and the next unit may take hours or kill the process.
SLOW_SECONDS = 0.005

STOP_REASONS: dict[int, Outcome] = {1: "timeout", 2: "oom", 3: "cancelled"}


class _Worker:
    def __init__(self, channel: socket.socket, marker: Marker, stdout: int, stderr: int, spec: dict[str, Any]) -> None:
        self._channel, self._marker, self._stdout, self._stderr = channel, marker, stdout, stderr
        self._executor = Executor(spec["cache_dir"], spec["device"], spec["threads"], Path(spec["scratch"]))
        self._rows: list[Row] = []
        self._flushed = 0.0
        self._in_unit = False
        self._environment_sent = False
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides what Ctrl-C means

    def run(self) -> None:
        while (message := receive(self._channel)) is not None:
            call, packed, plugins, budget = message
            self._execute(call, unpack_units(packed), plugins, budget)

    def _execute(self, call: int, units: tuple[Unit, ...], plugins: tuple[str, ...], budget: float) -> None:
        started = self._flushed = time.monotonic()
        stopped = False
        for index, unit in enumerate(units):
            began = time.monotonic()
            stopped = self._execute_unit(Marker.position(call, index), index, unit, plugins)
            now = time.monotonic()
            if now - self._flushed >= FLUSH_SECONDS or now - began >= SLOW_SECONDS or len(self._rows) >= FLUSH_ROWS:
                self._flush(call)
            if stopped or now - started >= budget:
                break
        self._marker.reset()
        self._flush(call, end=True)
        if stopped:
            os._exit(0)  # a unit that was interrupted anywhere may have left anything behind: the next one gets a fresh process

    def _execute_unit(self, position: int, index: int, unit: Unit, plugins: tuple[str, ...]) -> bool:
        """Execute and queue its row; True when it was stopped from outside."""
        self._in_unit = True
        self._marker.begin(position)
        began = time.time()
        try:
            done = self._executor.execute(unit, plugins, lambda: self._marker.begin(position))
            stopped = False
        except (SoftStop, KeyboardInterrupt) as stop:  # it arrived outside the task's own code
            outcome: Outcome = stop.outcome if isinstance(stop, SoftStop) else "cancelled"
            keys = unit.keys if isinstance(unit, TrialUnit) else (unit.key,)
            done = Executed(tuple(TrialResult(key, outcome, error=str(stop)) for key in keys), began, 0.0, 0.0)
            stopped = True
        self._in_unit = False
        reason, target = self._marker.stop_asked()
        stopped = stopped or (reason != 0 and target == position)
        self._rows.append(to_row(index, done, self._tail(sys.stdout, self._stdout), self._tail(sys.stderr, self._stderr)))
        return stopped

    def _flush(self, call: int, end: bool = False) -> None:
        if self._rows or end:
            environment = None if self._environment_sent else self._executor.environment()
            cancelled = next((row[0] for row in self._rows if all(fields[1] == "cancelled" for fields in row[6])), None)
            rows = [row for row in self._rows if row[0] != cancelled]
            last = self._rows[-1][0] if self._rows else -1
            send(self._channel, (call, last, cancelled, environment, pickle.dumps(rows, protocol=5), end))
            self._environment_sent = True
            self._rows = []
        self._flushed = time.monotonic()

    @staticmethod
    def _tail(stream: Any, fd: int) -> str:
        try:
            stream.flush()
        except (OSError, ValueError):  # closed or replaced by the task
            return read_tail(fd, TAIL_BYTES)
        text = read_tail(fd, TAIL_BYTES)
        if text:
            os.ftruncate(fd, 0)
        return text

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        reason, position = self._marker.stop_asked()
        if self._in_unit and reason in STOP_REASONS and position == self._marker.current()[0]:
            self._in_unit = False  # once is enough
            raise SoftStop(STOP_REASONS[reason], _SENTENCES[STOP_REASONS[reason]])


_SENTENCES: dict[Outcome, str] = {
    "timeout": "The time limit was reached.",
    "oom": "The memory limit was reached.",
    "cancelled": "It was cancelled.",
}


def serve_units(fds: list[int], spec: dict[str, Any]) -> None:
    """The life of a worker process: `fds` are the channel, the marker, stdout and stderr."""
    channel, marker, stdout, stderr = fds
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    faulthandler.enable(file=2, all_threads=False)  # a segmentation fault leaves its Python stack in stderr's tail
    if spec.get("environment"):
        os.environ.update(spec["environment"])
    _Worker(socket.socket(fileno=channel), Marker(marker), stdout, stderr, spec).run()
