"""The supervisor's side of one worker process: hands it calls, enforces limits, and says exactly what happened when it dies."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from harness.engines.base import CallEnded, EngineSettings, Shape
from harness.engines.marker import Marker
from harness.engines.processes import exceeds, kernel_oom_kills
from harness.engines.wire import TAIL_BYTES, Line, Load, Rows, read_tail
from harness.engines.zygote import Exit, Zygote, kill_group

#: Between the polite stop and SIGKILL: long enough to unwind Python, short enough that a hang costs little.
GRACE_SECONDS = 3.0

#: How often limits are looked at while a call runs.
TICK_SECONDS = 0.1

#: A stream that grows beyond this is cut back to nothing (its tail survives), so that printing without end can't fill the disk.
STREAM_LIMIT = 16 << 20

_STOP_CODES: dict[str, int] = {"timeout": 1, "oom": 2, "cancelled": 3}
StopReason = Literal["timeout", "oom", "cancelled"]
Lost = Literal["timeout", "oom", "worker_lost", "cancelled"]


class Child:
    """One worker process. `pump` is called often and never blocks; once `dead`, it takes no more calls."""

    def __init__(self, zygote: Zygote, token: int, settings: EngineSettings, shape: Shape, environment: Mapping[str, str]) -> None:
        self.shape, self.token = shape, token
        self._calls: deque[Load] = deque()  #: the first is executed, the second waits in the channel
        self._withdrawn: set[int] = set()
        self.affinity = ""
        self.pid: int | None = None
        self.dead = False
        self._scratch = Path(tempfile.mkdtemp(prefix="assay-"))
        self._fds = marker, self._stdout, self._stderr = [_open_unlinked(self._scratch / name) for name in ("marker", "stdout", "stderr")]
        os.ftruncate(marker, Marker.SIZE)
        self._marker = Marker(marker)
        self._marker.reset()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.line = Line(ours)
        self._environment: Mapping[str, Any] = {}
        self._exit: Exit | None = None
        self._closed_since: float | None = None
        self._look_at = 0.0
        self._stopping: StopReason | None = None
        self._oom_kills = kernel_oom_kills()
        self._reset()
        spec = {
            "cache_dir": settings.cache_dir,
            "device": settings.device,
            "threads": settings.threads,
            "scratch": str(self._scratch),
            "environment": dict(environment),
        }
        with theirs:
            try:
                zygote.fork(token, [theirs.fileno(), *self._fds], spec)
            except OSError:
                self._exit = Exit(0, 256)

    @property
    def name(self) -> str:
        return f"{socket.gethostname()}:{self.pid or 0}"

    @property
    def busy(self) -> bool:
        return bool(self._calls)

    def has_room(self, short: bool) -> bool:
        """Whether it should take a call: when idle, or as a second one so that it never waits for its supervisor, if both are short."""
        if not self._calls:
            return True
        return len(self._calls) == 1 and short and self._calls[0].short and self._stopping is None

    def begin(self, call: Load) -> None:
        """Hand over a call."""
        if not self._calls:
            self._reset()
        self._calls.append(call)
        self.affinity = call.affinity
        self.line.send((call.id, call.units, call.plugins, call.budget))  # if it is gone already, `pump` will say so

    def started(self, pid: int) -> None:
        """The zygote says it runs; 0: it could not be forked."""
        self.pid = pid
        if pid == 0:
            self._exit = Exit(0, 256)

    def exited(self, exit: Exit) -> None:
        """The zygote says it has ended."""
        self._exit = exit

    def pump(self) -> list[Rows | CallEnded]:
        """Everything that happened since the last time."""
        if self.dead:
            return []
        events = self._read()
        if self._calls and (self._exit is not None or self._gone()):
            events += self._read()
            if self._calls:
                events += self._died()
        elif self._calls:
            if time.monotonic() >= self._look_at:
                self._enforce()
                self._look_at = time.monotonic() + TICK_SECONDS / 4
        elif self._exit is not None or self.line.closed:
            self.close()
        return events

    def has(self, call: int) -> bool:
        """Whether it has been given this call and has not ended it."""
        return any(load.id == call for load in self._calls)

    def cancel(self, call: int) -> None:
        """End a call that is here; unknown ids are ignored."""
        if self._calls and self._calls[0].id == call:
            self.stop("cancelled")
        elif self.has(call):
            self._withdrawn.add(call)

    def stop(self, reason: StopReason) -> None:
        """Ask the running unit to stop; the process is killed when it does not."""
        if not self._calls or self._stopping is not None:
            return
        self._stopping, self._kill_at = reason, time.monotonic() + GRACE_SECONDS
        self._ask()

    def close(self) -> None:
        """Kill it if it lives, and remove its scratch. Idempotent."""
        if self.dead:
            return
        self.dead = True
        self._calls.clear()
        if self.pid:  # even after its exit: what it started may live on in its process group
            kill_group(self.pid, reaped=self._exit is not None)
        self.line.close()
        self._marker.close()
        for fd in self._fds:
            os.close(fd)
        shutil.rmtree(self._scratch, ignore_errors=True)

    # -- inside -----------------------------------------------------------------------------------------------------------------------
    def _reset(self) -> None:
        self._reported = -1  #: index of the last unit whose row arrived
        self._stopping = None
        self._stop_position = -1
        self._cancelled: int | None = None
        self._kill_at = math.inf
        self._cut: dict[int, tuple[str, str]] = {}  #: per unit, what was saved of streams that had to be cut

    def _ask(self) -> None:
        self._stop_position, _ = self._marker.current()
        self._marker.ask_stop(_STOP_CODES[self._stopping or "cancelled"], self._stop_position)
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def _read(self) -> list[Rows | CallEnded]:
        events: list[Rows | CallEnded] = []
        for message in self.line.messages():
            call, last, cancelled, environment, packed, ended = message
            self._reported = max(self._reported, last)
            if environment is not None:
                self._environment = environment
            if cancelled is not None:
                self._cancelled = cancelled
            if last >= 0:
                saved, self._cut = self._cut, {}
                events.append(Rows(call, self.name, self._environment, packed, saved))
            if ended:
                events += self._end()
                if self.dead:
                    break
        return events

    def _end(self) -> list[CallEnded]:
        call = self._calls.popleft()
        events = [CallEnded(call.id, self.name, "cancelled" if self._stopping == "cancelled" else None, self._cancelled)]
        if self._stopping is not None:  # after a stop the worker ends itself
            events += [CallEnded(waiting.id, self.name) for waiting in self._calls]
            self.close()
        elif self._calls:
            self._reset()
            if self._calls[0].id in self._withdrawn:
                self.stop("cancelled")
        return events

    def _died(self) -> list[CallEnded]:
        call = self._calls.popleft()
        unit, began = self._marker.current_unit(call.id)
        culprit = unit if unit > self._reported else None
        lost, detail = self._cause()
        finished = datetime.now(UTC)
        saved = self._cut.get(unit, ("", ""))
        event = CallEnded(
            call.id,
            self.name,
            lost,
            culprit,
            detail,
            (saved[0] + read_tail(self._stdout, TAIL_BYTES))[-TAIL_BYTES:],
            (saved[1] + read_tail(self._stderr, TAIL_BYTES))[-TAIL_BYTES:],
            None if culprit is None else finished - timedelta(seconds=time.monotonic() - began),
            None if culprit is None else finished,
            # A fault of the unit's own ends in another signal or in an exit code.
            external=lost == "worker_lost" and (self._exit is None or self._exit.status == signal.SIGKILL),
        )
        events = [event, *(CallEnded(waiting.id, self.name) for waiting in self._calls)]
        self.close()
        return events

    def _cause(self) -> tuple[Lost, str]:
        if self._stopping == "timeout":
            return "timeout", f"The time limit was reached; it ignored the request to stop and was killed after {GRACE_SECONDS:g} s."
        if self._stopping == "oom":
            return "oom", f"The memory limit of {self.shape.memory / 2**20:.0f} MiB was reached and the process was killed."
        if self._stopping == "cancelled":
            return "cancelled", "It was cancelled."
        if self._exit is not None and self._exit.status == signal.SIGKILL and kernel_oom_kills() > self._oom_kills:
            return "oom", f"The kernel's out-of-memory killer ended the worker process {self.name}."
        how = self._exit.sentence() if self._exit is not None else "went away"
        return "worker_lost", f"The worker process {self.name} {how}."

    def _gone(self) -> bool:
        """The channel is closed though no exit was reported: after a moment it is dead to us (the zygote itself may be gone)."""
        if not self.line.closed:
            return False
        if self._closed_since is None:
            self._closed_since = time.monotonic()
        return time.monotonic() - self._closed_since > 1.0

    def _enforce(self) -> None:
        call, now = self._calls[0], time.monotonic()
        unit, began = self._marker.current_unit(call.id)
        if self._stopping is not None:
            moved = self._marker.current()[0] != self._stop_position
            if moved and self._stopping != "cancelled":
                self._stopping = None  # that unit ended by itself just before the signal; the next one is innocent
                self._marker.ask_stop(0, -1)
            elif moved:
                self._ask()
            elif now > self._kill_at and self.pid:
                kill_group(self.pid)
        elif 0 <= unit < len(call.limits) and unit > self._reported and now - began > call.limits[unit]:
            self.stop("timeout")
        elif self.shape.memory and self.pid and exceeds(self.pid, self.shape.memory):
            self.stop("oom")
        for which, fd in enumerate((self._stdout, self._stderr)):
            if os.fstat(fd).st_size > STREAM_LIMIT:
                saved = list(self._cut.get(unit, ("", "")))
                saved[which] = read_tail(fd, TAIL_BYTES)
                self._cut[unit] = (saved[0], saved[1])
                os.ftruncate(fd, 0)


def _open_unlinked(path: Path) -> int:
    """A file that only its descriptors know. Appending, so that what is written after a truncation lands at the new end."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    path.unlink()
    return fd
