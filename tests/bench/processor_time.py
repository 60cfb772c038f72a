"""Processor time of a coordinator and of all processes below it, by what they are: it tells where the time of a trial goes, and other work
on the machine disturbs it less than a clock."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
#: Part of a command line -> what the process is.
_KINDS = {"ray::Host": "actors", "ray::Actor": "actors", "serve_forks": "worker processes"}


class Meter:
    """Seconds used between `start` and `stop`."""

    def __init__(self) -> None:
        self._before: dict[int, float] = {}
        self.used: Counter[str] = Counter()

    def start(self) -> None:
        self._before = {pid: seconds for pid, (_, seconds) in _processes().items()}
        self._own = time.process_time()

    def stop(self) -> None:
        self.used["coordinator"] += time.process_time() - self._own
        for pid, (kind, seconds) in _processes().items():
            self.used[kind] += seconds - self._before.get(pid, 0.0)

    def microseconds(self, trials: int) -> str:
        """Per trial, for people."""
        parts = [f"{kind} {1e6 * seconds / trials:.0f}" for kind, seconds in sorted(self.used.items())]
        return f"{1e6 * self.used.total() / trials:.0f} us ({', '.join(parts)})"


def _processes() -> dict[int, tuple[str, float]]:
    """Kind and CPU seconds of every process below this one."""
    found: dict[int, tuple[int, str, float]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            command = (path / "cmdline").read_bytes().decode(errors="replace")
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            kind = next((kind for part, kind in _KINDS.items() if part in command), "the rest of Ray")
            found[int(path.name)] = (int(fields[1]), kind, (int(fields[11]) + int(fields[12])) * _TICK)

    def below(pid: int) -> bool:
        while pid in found:
            pid = found[pid][0]
            if pid == os.getpid():
                return True
        return False

    return {pid: (kind, seconds) for pid, (_, kind, seconds) in found.items() if below(pid)}
