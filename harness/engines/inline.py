"""Runs units in the coordinator's own process, one at a time: for debugging (print and breakpoint() work) and for milliseconds of overhead.

A time limit stops a unit only where Python can (a signal in the main thread); a unit that ends its process ends the run.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from harness.engines.base import Call, CallEnded, EngineSettings, Event, Shape, TrialResult, TrialUnit, Unit, UnitDone, Usage
from harness.signals import Stop
from harness.worker import Executed, Executor, SoftStop


class InlineEngine:
    """The engine without workers."""

    name = "inline"
    isolated = False

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._ended: list[Event] = []  #: of calls that never began
        self._executor: Executor | None = None
        self._scratch: Path | None = None

    def prepare(self, settings: EngineSettings) -> None:
        pass

    def start(self, settings: EngineSettings, shapes: Sequence[Shape]) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="assay-"))
        self._executor = Executor(settings.cache_dir, settings.device, settings.threads, self._scratch)

    def slots(self, shape: Shape) -> int:
        return 1

    def workers(self, shape: Shape) -> int:
        return 1

    def submit(self, call: Call) -> None:
        self._calls.append(call)

    def poll(self, timeout: float) -> list[Event]:
        """Executes the next call; with none queued it waits the time out like any other engine."""
        if not self._calls and not self._ended:
            time.sleep(timeout)
            return []
        worker = f"{socket.gethostname()}:{os.getpid()}"
        events, self._ended = self._ended, []
        if self._calls:
            events += self._execute(self._calls.popleft(), worker)
        return events

    def usage(self) -> Usage:
        return Usage(1)

    def hand_back(self) -> None:
        self._ended += [CallEnded(call.id, "") for call in self._calls]
        self._calls.clear()

    def cancel(self, call: int) -> None:
        for queued in self._calls:
            if queued.id == call:
                self._calls.remove(queued)
                self._ended.append(CallEnded(call, "", "cancelled"))
                return

    def stop(self) -> None:
        self._calls.clear()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _execute(self, call: Call, worker: str) -> Iterator[Event]:
        assert self._executor is not None, "start the engine first"
        deadline = time.monotonic() + call.budget
        environment = self._executor.environment()
        for index, unit in enumerate(call.units):
            done = self._execute_unit(unit, call.plugins)
            started, finished = datetime.fromtimestamp(done.started, UTC), datetime.now(UTC)
            yield UnitDone(call.id, index, done.results, started, finished, done.seconds, done.cpu_seconds, worker, environment)
            if time.monotonic() >= deadline or done.results[0].outcome == "cancelled":
                break
        yield CallEnded(call.id, worker)

    def _execute_unit(self, unit: Unit, plugins: Sequence[str]) -> Executed:
        assert self._executor is not None
        started = time.time()
        try:
            with _time_limit(unit.timeout), _second_signal_cancels():
                return self._executor.execute(unit, plugins)
        except SoftStop as stop:
            keys = unit.keys if isinstance(unit, TrialUnit) else (unit.key,)
            return Executed(tuple(TrialResult(key, stop.outcome, error=str(stop)) for key in keys), started, time.time() - started, 0.0)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise SoftStop in the main thread after `seconds`. Elsewhere there is no way to interrupt, and no limit."""
    if threading.current_thread() is not threading.main_thread() or not seconds < threading.TIMEOUT_MAX:
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:
        raise SoftStop("timeout", "The time limit was reached.")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _second_signal_cancels() -> Iterator[None]:
    """Raise SoftStop in the main thread when a person asks to stop at once: whoever else would look for that waits for the unit."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop = getattr(before[signal.SIGINT], "__self__", None)
    if not isinstance(stop, Stop) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def hear(number: int, frame: FrameType | None) -> None:
        stop.hear(number, frame)
        if stop.now():
            raise SoftStop("cancelled", "It was cancelled.")

    for number in before:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
