"""Ctrl-C: the first asks for a drain, the second for an immediate stop; both leave the ledger consistent."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType, TracebackType
from typing import Any, Protocol


class StopRequest(Protocol):
    """What a run looks at to know whether to go on."""

    def is_set(self) -> bool:
        """Start nothing new; finish what runs."""
        ...

    def now(self) -> bool:
        """Cancel what runs, too."""
        ...

    def idle(self) -> AbstractContextManager[None]:
        """While entered, nothing runs that could be drained: a signal raises KeyboardInterrupt at once."""
        ...


class NeverStop:
    """The StopRequest of a run that nobody interrupts."""

    def is_set(self) -> bool:
        return False

    def now(self) -> bool:
        return False

    def idle(self) -> AbstractContextManager[None]:
        return nullcontext()


class Stop:
    """A person's StopRequest. While entered, SIGINT and SIGTERM raise `level` (0 run, 1 drain, 2 stop at once) instead of raising
    KeyboardInterrupt."""

    def __init__(self) -> None:
        self.level = 0
        self._idle = False
        self._before: dict[int, Any] = {}

    def is_set(self) -> bool:
        return self.level > 0

    def now(self) -> bool:
        return self.level > 1

    @contextmanager
    def idle(self) -> Iterator[None]:
        try:
            self._idle = True
            if self.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            self._idle = False

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self.hear)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The signals' handler."""
        self.level += 1
        if self._idle:
            raise KeyboardInterrupt
        if self.level == 1:
            # a terminal that is gone (OSError) or a line half printed (RuntimeError: reentrant call) must not end the drain
            with suppress(OSError, RuntimeError):
                print("\nStopping: no new trials; those running are finished first. Press Ctrl-C again to stop at once.", file=sys.stderr)
