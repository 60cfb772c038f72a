"""Starts worker processes in milliseconds: one process imports torch and the harness once, then forks a worker whenever one is asked for.

A worker that is killed (time-out, memory limit, crash) must be replaced at once; importing torch anew costs two seconds of CPU.
The zygote is a fresh interpreter, started by whoever supervises workers (a coordinator or a Ray actor), in a session of its own, so that
the terminal's Ctrl-C reaches the coordinator only. It and its workers die with their supervisor.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Imported before the first fork. Nothing here may start a thread (numba and OpenMP start theirs on first use).
PRELOAD = ("numpy", "torch", "harness.engines.serve")

_MAX_MESSAGE = 1 << 20


@dataclass(frozen=True, slots=True)
class Exit:
    """A worker's end: `status` as waitpid gives it."""

    pid: int
    status: int

    def sentence(self) -> str:
        if os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            return f"was killed by signal {number} ({signal.Signals(number).name})"
        return f"exited with code {os.waitstatus_to_exitcode(self.status)}"


class Zygote:
    """The supervisor's handle on its zygote."""

    def __init__(self, threads: int, environment: dict[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {**os.environ, **(environment or {})}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            env[name] = str(threads)
        # The same code as ours, whatever the working directory: this package's own place first, then our path.
        root = str(Path(__file__).resolve().parents[2])
        env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([root, *filter(None, sys.path)]))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from harness.engines.zygote import serve_forks; serve_forks({theirs.fileno()}, {threads})"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=env,
                start_new_session=True,
            )
        self._socket = ours
        self.pid = self._process.pid

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, token: int, fds: Sequence[int], spec: dict[str, Any]) -> None:
        """Ask for a worker with these descriptors; `events` reports its pid under `token`. Raises OSError when the zygote is gone."""
        socket.send_fds(self._socket, [pickle.dumps((token, spec))], list(fds))

    def events(self) -> list[tuple[int, int] | Exit]:
        """(token, pid) of workers that started and Exits of those that ended, without waiting. Raises EOFError when the zygote is gone."""
        found: list[tuple[int, int] | Exit] = []
        while True:
            try:
                message = self._socket.recv(_MAX_MESSAGE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except ConnectionError:
                message = b""
            if not message:
                if found:
                    return found
                raise EOFError("the zygote is gone")
            kind, first, second = pickle.loads(message)
            found.append((first, second) if kind == "pid" else Exit(first, second))

    def close(self) -> None:
        """End it; its workers die with it."""
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve_forks(fd: int, threads: int) -> None:
    """The zygote's life: preload, then fork on request and report exits, until the supervisor goes away."""
    control = socket.socket(fileno=fd)
    die_with_parent(os.getppid())
    for name in PRELOAD:
        # A machine without torch can still run what does not need it.
        with contextlib.suppress(ModuleNotFoundError):
            __import__(name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    gc.collect()
    gc.freeze()  # shared pages stay shared: the collector does not touch what was loaded here
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    from harness.engines.wire import wait_readable

    children: set[int] = set()
    while True:
        ready = wait_readable([control.fileno(), wake_read], 60.0)
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            children.discard(pid)
            with contextlib.suppress(OSError):  # the supervisor is gone: its end of the socket says so below
                control.send(pickle.dumps(("exit", pid, status)))
        if control.fileno() in ready:
            try:
                message, fds, _, _ = socket.recv_fds(control, _MAX_MESSAGE, 16)
            except ConnectionError:
                message = b""
            if not message:
                for pid in children:
                    kill_group(pid)
                os._exit(0)
            token, spec = pickle.loads(message)
            forked = _fork(control, [wake_read, wake_write], fds, spec)
            if forked:
                children.add(forked)
            control.send(pickle.dumps(("pid", token, forked)))
            for passed in fds:
                os.close(passed)


def _fork(control: socket.socket, ours: list[int], fds: list[int], spec: dict[str, Any]) -> int:
    """The pid of the new worker; 0 when the machine has no room for one."""
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid:
        return pid
    status = 1
    try:
        parent = os.getppid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        for fd in ours:
            os.close(fd)
        os.setpgid(0, 0)
        die_with_parent(parent)
        from harness.engines.serve import serve_units

        serve_units(fds, spec)
        status = 0
    finally:
        os._exit(status)


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the closed socket is what ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def kill_group(pid: int) -> None:
    """SIGKILL a worker and what it started; a process that is gone is no error."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
