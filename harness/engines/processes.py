"""What Linux knows about processes. Elsewhere the answers are zero: limits on memory are then not enforced."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> Iterator[int]:
    """A process and its living descendants."""
    todo = [pid]
    while todo:
        yield (current := todo.pop())
        try:
            # Each thread has children of its own.
            for thread in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{thread}/children") as file:
                    todo += map(int, file.read().split())
        except OSError:  # it ended while we looked
            continue


def memory_of_tree(pid: int) -> int:
    """Bytes of memory of a process and its descendants: proportional set size, so that what forked processes share counts once, and among
    all who share it. Where the kernel does not tell (no smaps_rollup), resident bytes."""
    return sum(map(_proportional, tree(pid)))


def exceeds(pid: int, limit: int) -> bool:
    """Whether the memory of a process and its descendants is above `limit` bytes. Cheap while it is far below: the kernel walks page tables
    for the proportional size, but the resident size is at least as large and costs nothing."""
    return sum(map(_resident, tree(pid))) > limit and memory_of_tree(pid) > limit


class CpuClock:
    """CPU seconds of this process, of its children that have ended, and of descendants that live, between `start` and `stop`. For use again
    and again; nobody may start a child that lives on between a stop and the next start."""

    def __init__(self) -> None:
        self._some = True  #: children may live
        self._began = 0.0

    def start(self) -> None:
        self._began = self._now()

    def stop(self) -> float:
        self._some = True
        return self._now() - self._began

    def _now(self) -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() + ended.ru_utime + ended.ru_stime
        if not self._some:
            return own
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # the usual case, at the price of one system call
            self._some = False
            return own
        living = tree(os.getpid())
        next(living)
        return own + sum(map(_cpu, living))


def kernel_oom_kills() -> int:
    """How often the kernel's out-of-memory killer has struck on this machine."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return _resident(pid)


def _cpu(pid: int) -> float:
    """User and system seconds of a process and of those of its children that it has waited for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:15])) * _TICK
    except (OSError, IndexError, ValueError):
        return 0.0
