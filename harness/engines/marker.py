"""What a supervisor and its worker process share: a few bytes of memory that say what is being executed."""

from __future__ import annotations

import mmap
import time


class Marker:
    """What a worker is executing, in shared memory: call and unit, when it began (CLOCK_MONOTONIC), and the supervisor's wish to stop
    that unit (reason code; 0: none). Call and unit travel as one number (a *position*), so that they are never half-written.

    Each number is stored at once (through a memoryview: struct.pack_into clears the place first). The time is written before the position
    and read after it: a unit may seem to have begun too late, but never too early, which would be a time-out out of nowhere.
    """

    SIZE = 32
    _TIME, _POSITION, _STOP_REASON, _STOP_POSITION = range(4)

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, self.SIZE)
        self._bytes = memoryview(self._map)
        self._numbers, self._times = self._bytes.cast("q"), self._bytes.cast("d")

    def reset(self) -> None:
        self.begin(-1)
        self.ask_stop(0, -1)

    @staticmethod
    def position(call: int, unit: int) -> int:
        return call << 24 | unit

    def begin(self, position: int) -> None:
        self._times[self._TIME] = time.monotonic()
        self._numbers[self._POSITION] = position

    def current(self) -> tuple[int, float]:
        """(position, monotonic time at which it began); position -1: nothing is executed."""
        position = self._numbers[self._POSITION]
        return position, self._times[self._TIME]

    def current_unit(self, call: int) -> tuple[int, float]:
        """(unit index, monotonic time at which it began); -1 when no unit of this call is executed."""
        position, began = self.current()
        return (position & 0xFFFFFF if position >= 0 and position >> 24 == call else -1), began

    def ask_stop(self, reason: int, position: int) -> None:
        """Wish (reason code) that the unit at this position stops."""
        self._numbers[self._STOP_POSITION] = -1  # nobody is meant while the reason changes
        self._numbers[self._STOP_REASON] = reason
        self._numbers[self._STOP_POSITION] = position

    def stop_asked(self) -> tuple[int, int]:
        """(reason code, position)."""
        position = self._numbers[self._STOP_POSITION]
        return self._numbers[self._STOP_REASON], position

    def close(self) -> None:
        for view in (self._numbers, self._times, self._bytes):
            view.release()
        self._map.close()
