"""Starts worker processes in milliseconds: one process imports torch (where tasks use it) and the harness once, then forks a worker
whenever one is asked for.

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
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A supervisor's handle on a zygote: its own, or one that another process of this machine has started (`connect`)."""

    def __init__(self, preload: Sequence[str], threads: int, listen: Path | None = None) -> None:
        """Start one that imports the modules `preload` before it forks; none may start a thread by that (numba and OpenMP start theirs on
        first use). With `listen` it also takes other supervisors at that socket path, from now on: they wait while it loads; and it removes
        the folder of that path when it ends, because who started it may be killed."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._gone = False
        env = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            env[name] = str(threads)
        # The same code as ours, whatever the working directory: this package's own place first, then our path.
        root = str(Path(__file__).resolve().parents[2])
        env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([root, *filter(None, sys.path)]))
        fds = [theirs.fileno()]
        listener: socket.socket | None = None
        if listen is not None:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(str(listen))
            listener.listen(1024)
            fds.append(listener.fileno())
        life = (fds, (*preload, "harness.engines.serve"), threads, None if listen is None else str(listen.parent))
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from harness.engines.zygote import serve_forks; serve_forks{life}",
            ],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a library prints when it is loaded is no result
            env=env,
            start_new_session=True,
        )
        theirs.close()
        if listener is not None:
            listener.close()

    @classmethod
    def connect(cls, path: Path) -> Zygote:
        """The zygote that listens at `path`; raises OSError when there is none."""
        zygote = cls.__new__(cls)
        zygote._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        zygote._socket.connect(str(path))
        zygote._process, zygote._gone = None, False
        return zygote

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def alive(self) -> bool:
        return not self._gone and (self._process is None or self._process.poll() is None)

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
            except OSError:
                message = b""
            if not message:
                self._gone = True
                if found:
                    return found
                raise EOFError("the zygote is gone")
            kind, first, second = pickle.loads(message)
            found.append((first, second) if kind == "pid" else Exit(first, second))

    def close(self) -> None:
        """Hang up: the workers of this supervisor die, and so does a zygote that it started."""
        self._gone = True
        self._socket.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def serve_forks(fds: list[int], preload: tuple[str, ...], threads: int, folder: str | None) -> None:
    """The zygote's life: preload, then fork on request and report exits, until the supervisor that started it goes away.

    `fds` are that supervisor's socket and, where others may connect, a listening one (in `folder`, which goes when it does). A supervisor's
    workers die when it hangs up.
    """
    for name in preload:
        # A machine without torch can still run what does not need it.
        with contextlib.suppress(ModuleNotFoundError):
            __import__(name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    gc.collect()
    gc.freeze()  # shared pages stay shared: the collector does not touch what was loaded here
    _Nursery(fds, folder).serve()


class _Nursery:
    """The zygote's loop: supervisors, and the workers of each."""

    def __init__(self, fds: list[int], folder: str | None) -> None:
        self._folder = folder
        self._owner = socket.socket(fileno=fds[0])
        self._listener = socket.socket(fileno=fds[1]) if len(fds) > 1 else None
        self._supervisors: dict[int, socket.socket] = {self._owner.fileno(): self._owner}
        self._workers: dict[int, socket.socket] = {}
        self._scratch: dict[int, str] = {}  #: folders that a killed supervisor can't remove any more
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def serve(self) -> None:
        from harness.engines.wire import wait

        listening = [] if self._listener is None else [self._listener.fileno()]
        while True:
            ready = wait([*self._supervisors, *listening, self._wake_read], 60.0)
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            self._reap()
            for fd in ready:
                if fd in listening and self._listener is not None:
                    supervisor, _ = self._listener.accept()
                    self._supervisors[supervisor.fileno()] = supervisor
                elif fd in self._supervisors:
                    self._hear(self._supervisors[fd])

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            scratch = self._scratch.pop(pid)
            if not self._tell(self._workers.pop(pid), ("exit", pid, status)):
                kill_group(pid, reaped=True)
                shutil.rmtree(scratch, ignore_errors=True)

    def _hear(self, supervisor: socket.socket) -> None:
        try:
            message, fds, _, _ = socket.recv_fds(supervisor, _MAX_MESSAGE, 16)
        except ConnectionError:
            message = b""
        if not message:
            self._orphaned(supervisor)
            return
        token, spec = pickle.loads(message)
        ours = [*self._supervisors, self._wake_read, self._wake_write] + ([] if self._listener is None else [self._listener.fileno()])
        pid = _fork(ours, fds, spec)
        if pid:
            self._workers[pid], self._scratch[pid] = supervisor, spec["scratch"]
        self._tell(supervisor, ("pid", token, pid))
        for passed in fds:
            os.close(passed)

    def _orphaned(self, supervisor: socket.socket) -> None:
        for pid, owner in list(self._workers.items()):
            if owner is supervisor or supervisor is self._owner:
                kill_group(pid)
                os.waitpid(pid, 0)  # before its folder goes, so that it can't put anything there any more
                del self._workers[pid]
                shutil.rmtree(self._scratch.pop(pid, ""), ignore_errors=True)
        if supervisor is self._owner:
            self._tidy()
            os._exit(0)
        del self._supervisors[supervisor.fileno()]
        supervisor.close()

    def _tidy(self) -> None:
        """Remove the folder, in which a Ray that dies with its coordinator may still write for a moment."""
        for _ in range(20):
            if self._folder is None or not os.path.exists(self._folder):
                return
            shutil.rmtree(self._folder, ignore_errors=True)
            time.sleep(0.1)

    @staticmethod
    def _tell(supervisor: socket.socket, message: tuple[str, int, int]) -> bool:
        """Whether it is there to hear it; its end of the socket says by itself when it is gone."""
        try:
            supervisor.send(pickle.dumps(message))
        except OSError:
            return False
        return True


def _fork(ours: list[int], fds: list[int], spec: dict[str, Any]) -> int:
    """The pid of the new worker; 0 when the machine has no room for one. `ours` are descriptors that it must not keep."""
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


def kill_group(pid: int, reaped: bool = False) -> None:
    """SIGKILL a worker and what it started; a process that is gone is no error. A worker that has been `reaped` is left out: its pid may be
    another process's by now, but its group's number is taken while somebody is in it."""
    for kill in (os.killpg,) if reaped else (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
