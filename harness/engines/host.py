"""What runs inside a Ray actor: a supervisor of one worker process. It needs nothing of Ray itself.

The work is done in a process below the actor, not in the actor: a unit that segfaults, hangs or leaks then costs a fork instead of an
actor, its output and the finished part of its batch survive, and limits are enforced beside it rather than from across the network.
"""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

from harness.engines.base import CallEnded, EngineSettings, Shape
from harness.engines.crew import Crew
from harness.engines.wire import Load, Rows
from harness.engines.zygote import Zygote

#: Decided by Ray per actor; the worker process must see the same devices.
_DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")


class Host:
    """Executes calls one after another; `cancel` may be called meanwhile from another thread."""

    def __init__(self, settings: EngineSettings, shape: Shape, nursery: tuple[str, str] | None = None) -> None:
        """`nursery`: machine and socket path of a zygote that may be shared (see `machine_id`)."""
        devices = {name: os.environ[name] for name in _DEVICE_VARIABLES if name in os.environ}
        self._crew, self._shape = Crew(settings, devices, _shared_zygote(nursery)), shape
        self._crew.spawn(shape)  # it loads while the first call travels
        self._wake_read, self._wake_write = os.pipe()
        self._lock = threading.Lock()
        self._cancelled: set[int] = set()

    def execute(self, message: bytes) -> bytes:
        """Execute a packed call; returns the pickled list of its Rows and its CallEnded."""
        call = Load(*pickle.loads(message))
        if self._is_cancelled(call.id):
            return pickle.dumps([CallEnded(call.id, "", "cancelled")], protocol=5)
        self._crew.poll(0.0)
        child = self._crew.children[0] if self._crew.children else self._crew.spawn(self._shape)
        child.begin(call)
        events: list[Rows | CallEnded] = []
        while not (events and isinstance(events[-1], CallEnded)):
            events += self._crew.poll(60.0, self._wake_read)
            if self._is_cancelled(call.id):
                os.read(self._wake_read, 4096)
                child.stop("cancelled")
        if not self._crew.children:
            self._crew.spawn(self._shape)
        return pickle.dumps(events, protocol=5)

    def cancel(self, call: int) -> None:
        """End a call that executes or waits here."""
        with self._lock:
            self._cancelled.add(call)
        os.write(self._wake_write, b"x")

    def ping(self) -> str:
        """Answers when the actor is up."""
        return f"{os.uname().nodename}:{os.getpid()}"

    def close(self) -> None:
        """End the worker process, softly enough for its files to be removed."""
        self._crew.close()

    def _is_cancelled(self, call: int) -> bool:
        with self._lock:
            if call in self._cancelled:
                self._cancelled.discard(call)
                return True
            return False


def machine_id() -> str:
    """The same text for two processes exactly when they run on the same machine (since its last start)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.uname().nodename


def _shared_zygote(nursery: tuple[str, str] | None) -> Zygote | None:
    if nursery is None or nursery[0] != machine_id():
        return None
    try:
        return Zygote.connect(Path(nursery[1]))
    except OSError:  # another container of the machine, or gone: an own one then
        return None
