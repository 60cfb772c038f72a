"""What is left of workers when their supervisor is killed, and where a zygote's own words go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness.engines.zygote import kill_group

ROOT = Path(__file__).parents[2]


def _alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


_SUPERVISOR = """
import sys
from harness.engines.base import EngineSettings, Shape
from harness.engines.crew import Crew
crew = Crew(EngineSettings("cache", preload=tuple(sys.argv[1:])))
children = [crew.spawn(Shape()) for _ in range(8)]
while not all(child.pid for child in children):
    crew.poll(0.1)
print("up", flush=True)
sys.stdin.read()
"""


def test_idle_workers_of_a_killed_supervisor_leave_no_folder_behind(tmp_path: Path) -> None:
    """They see its death as soon as the zygote does, and some have gone before that has looked."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for _ in range(3):
        command = [sys.executable, "-c", _SUPERVISOR]
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as supervisor:
            assert supervisor.stdout is not None
            assert supervisor.stdout.readline() == b"up\n"
            assert len(list(tmp_path.iterdir())) == 8
            supervisor.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 20
        while left := list(tmp_path.iterdir()):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def test_only_the_group_of_a_worker_that_was_reaped_is_killed() -> None:
    """Its pid may have been given to somebody else."""
    bystander = subprocess.Popen(["sleep", "60"], process_group=os.getpgid(0))
    kill_group(bystander.pid, reaped=True)
    assert bystander.poll() is None
    kill_group(bystander.pid)
    assert bystander.wait(10) == -signal.SIGKILL
    leader = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, text=True, process_group=0)
    assert leader.stdout is not None
    follower = int(leader.stdout.readline())
    leader.wait()
    kill_group(leader.pid, reaped=True)
    deadline = time.monotonic() + 10
    while _alive(follower):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_library_prints_while_it_is_loaded_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text("print('hello from a library')")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", _SUPERVISOR, "chatty"], env=environment, input="", capture_output=True, text=True)
    assert done.stdout == "up\n"
    assert "hello from a library" in done.stderr
