"""What Linux knows about processes. Elsewhere the answers are zero: limits on memory are then not enforced."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_of_tree(pid: int) -> int:
    """Resident bytes of a process and its descendants."""
    total, todo = 0, [pid]
    while todo:
        current = todo.pop()
        try:
            with open(f"/proc/{current}/statm") as file:
                total += int(file.read().split()[1]) * _PAGE
            with open(f"/proc/{current}/task/{current}/children") as file:
                todo += map(int, file.read().split())
        except (OSError, IndexError):  # it ended while we looked
            continue
    return total


def kernel_oom_kills() -> int:
    """How often the kernel's out-of-memory killer has struck on this machine."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
