"""What runs inside a Ray actor: a supervisor of one worker process. It needs nothing of Ray itself.

The work is done in a process below the actor, not in the actor: a unit that segfaults, hangs or leaks then costs a fork instead of an
actor, its output and the finished part of its batch survive, and limits are enforced beside it rather than from across the network.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from pathlib import Path

from harness.engines.base import CallEnded, EngineSettings, Shape
from harness.engines.crew import Crew
from harness.engines.wire import Load, Rows
from harness.engines.zygote import Zygote

#: Decided by Ray per actor; the worker process must see the same devices.
_DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")


class Host:
    """Executes calls in the order in which they come. Every method may be called from any thread; one thread of its own supervises."""

    def __init__(self, settings: EngineSettings, shape: Shape, nursery: tuple[str, str] | None = None) -> None:
        """`nursery`: machine and socket path of a zygote that may be shared (see `machine_id`)."""
        devices = {name: os.environ[name] for name in _DEVICE_VARIABLES if name in os.environ}
        self._crew, self._shape = Crew(settings, devices, _shared_zygote(nursery)), shape
        self._crew.spawn(shape)  # it loads while the first call travels
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._lock = threading.Lock()
        self._waiting: deque[Load] = deque()
        self._cancelled: set[int] = set()
        self._results: dict[int, tuple[list[Rows | CallEnded], threading.Event]] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def execute(self, message: bytes) -> bytes:
        """Execute a packed call; returns the pickled list of its Rows and its CallEnded."""
        call = Load(*pickle.loads(message))
        events: list[Rows | CallEnded] = []
        over = threading.Event()
        with self._lock:
            self._results[call.id] = (events, over)
            self._waiting.append(call)
        self._wake()
        over.wait()
        return pickle.dumps(events, protocol=5)

    def cancel(self, call: int) -> None:
        """End a call that executes or waits here."""
        with self._lock:
            self._cancelled.add(call)
        self._wake()

    def ping(self) -> str:
        """Answers when the actor is up."""
        return f"{os.uname().nodename}:{os.getpid()}"

    def close(self) -> None:
        """End the worker process and remove its files."""
        self._closing = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")

    def _supervise(self) -> None:
        while not self._closing:
            self._hand_over()
            for event in self._crew.poll(60.0, self._wake_read):
                self._deliver(event)
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                continue
        self._crew.close()

    def _hand_over(self) -> None:
        """Give the worker what it has room for, and cancel what is to be cancelled."""
        child = next((child for child in self._crew.children if not child.dead), None) or self._crew.spawn(self._shape)
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
            withdrawn = [call for call in self._waiting if call.id in cancelled]
            for call in withdrawn:
                self._waiting.remove(call)
            while self._waiting and child.has_room(self._waiting[0].short):
                child.begin(self._waiting.popleft())
        for call in withdrawn:
            self._deliver(CallEnded(call.id, "", "cancelled"))
        for number in cancelled:
            child.cancel(number)

    def _deliver(self, event: Rows | CallEnded) -> None:
        with self._lock:
            events, over = self._results[event.call]
            events.append(event)
            if isinstance(event, CallEnded):
                del self._results[event.call]
                over.set()


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
