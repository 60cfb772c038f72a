"""What a process tree holds and has used, against processes whose use is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from harness.engines.processes import CpuClock, exceeds, memory_of_tree, tree

MIB = 1 << 20

_FAMILY = """
import json, os, signal
from harness.engines.processes import _resident, exceeds, memory_of_tree, tree

MIB = 1 << 20
hoard = bytearray(os.urandom(MIB)) * 64
alone = memory_of_tree(os.getpid())

def child(own):
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        mine = bytearray(os.urandom(MIB)) * own
        os.write(told, b"x")
        signal.pause()
    os.read(ready, 1)
    return pid

children = [child(0) for _ in range(4)]
shared = memory_of_tree(os.getpid())
resident = sum(map(_resident, tree(os.getpid())))
children.append(child(64))
private = memory_of_tree(os.getpid())
limits = [exceeds(os.getpid(), limit * MIB) for limit in (100, 220, 10_000)]
print(json.dumps([alone, shared, resident, private, limits, set(children) < set(tree(os.getpid()))]))
for pid in children:
    os.kill(pid, signal.SIGKILL)
"""


def test_memory_that_forked_processes_share_counts_once_and_their_own_in_full():
    done = subprocess.run([sys.executable, "-c", _FAMILY], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    alone, shared, resident, private, limits, complete = json.loads(done.stdout)
    assert complete
    assert alone > 64 * MIB
    assert shared < alone + 30 * MIB
    assert resident > 5 * 64 * MIB
    assert private > shared + 60 * MIB
    assert limits == [True, False, False], "resident size alone would be over 220 MiB"


def burn(seconds: float) -> None:
    while sum(os.times()[:2]) < seconds:
        pass


def test_processor_time_of_children_counts_whether_they_live_or_not():
    clock, whole = CpuClock(), CpuClock()
    whole.start()
    clock.start()
    ended = os.fork()
    if ended == 0:
        burn(0.3)
        os._exit(0)
    os.waitpid(ended, 0)
    assert 0.29 <= clock.stop() < 0.6
    clock.start()
    ready, told = os.pipe()
    living = os.fork()
    if living == 0:
        burn(0.3)
        os.write(told, b"x")
        signal.pause()
    os.read(ready, 1)
    try:
        assert living in tree(os.getpid())
        assert 0.28 <= clock.stop() < 0.6
        clock.start()
        assert clock.stop() < 0.1, "what a living child used before is not counted again"
    finally:
        os.kill(living, signal.SIGKILL)
        os.waitpid(living, 0)
    assert 0.57 <= whole.stop() < 1.2, "what it used moves from the living to the dead"


def test_a_process_that_is_gone_holds_nothing():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert memory_of_tree(gone.pid) == 0
    assert not exceeds(gone.pid, 0)
