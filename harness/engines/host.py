"""What runs inside a Ray actor: a supervisor of one worker process. Of Ray itself it only asks where it is.

The work is done in a process below the actor, not in the actor: a unit that segfaults, hangs or leaks then costs a fork instead of an
actor, its output and the finished part of its batch survive, and limits are enforced beside it rather than from across the network.
The thread that executes a call supervises it, too: handing a call to another thread would cost more than a cheap trial.
"""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

from harness.engines.base import CallEnded, EngineSettings, Shape
from harness.engines.child import TICK_SECONDS
from harness.engines.crew import Crew
from harness.engines.wire import Load, Rows
from harness.engines.zygote import Zygote

#: Decided by Ray per actor; the worker process must see the same devices.
_DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")


#: Answers that an actor keeps: more calls are never with it at a time.
KEPT = 4


class Host:
    """Executes calls in the order in which they come, one at a time. `cancel` and `close` may be called from another thread meanwhile."""

    def __init__(self, settings: EngineSettings, shape: Shape, nursery: tuple[str, str] | None = None) -> None:
        """`nursery`: machine and socket path of a zygote that may be shared (see `machine_id`)."""
        devices = {name: os.environ[name] for name in _DEVICE_VARIABLES if name in os.environ}
        self._crew, self._shape = Crew(settings, devices, _shared_zygote(nursery)), shape
        self._child = self._crew.spawn(shape)  # it loads while the first call travels
        self._working = threading.Lock()  #: held by whoever uses the crew
        self._cancelled: set[int] = set()
        self._kept: dict[int, bytes] = {}  #: the newest answers: they may have been lost on the way
        self._closing = False

    def execute(self, message: bytes) -> bytes:
        """Execute a packed call; returns the pickled list of its Rows and its CallEnded."""
        with self._working:
            call = Load(*pickle.loads(message))
            answer = self._kept[call.id] = pickle.dumps(self._execute(call), protocol=5)
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
            return answer

    def redeem(self, call: int) -> bytes:
        """The answer of `execute` once more, when what executes has ended; no events when the call has never been here."""
        with self._working:
            return self._kept.get(call, pickle.dumps([]))

    def _execute(self, call: Load) -> list[Rows | CallEnded]:
        if self._closing or call.id in self._cancelled:
            self._cancelled.discard(call.id)
            return [CallEnded(call.id, "", "cancelled")]
        self._ready()
        self._child.begin(call)
        events: list[Rows | CallEnded] = []
        while not (events and isinstance(events[-1], CallEnded)):
            events += self._crew.poll(TICK_SECONDS)
            if call.id in self._cancelled:
                self._cancelled.discard(call.id)
                self._child.cancel(call.id)
            if self._closing:
                break
        if self._child.dead and not self._closing:
            self._child = self._crew.spawn(self._shape)  # it starts while the next call travels
        return events

    def _ready(self) -> None:
        """A living worker stands by."""
        self._crew.poll(0.0)  # it may have died of what the last unit left behind
        if self._child.dead:
            self._child = self._crew.spawn(self._shape)

    def cancel(self, call: int) -> None:
        """End a call that executes or waits here."""
        self._cancelled.add(call)

    def ping(self) -> str:
        """The id of the Ray node it is on; answers when the actor is up."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def close(self) -> None:
        """End the worker process and remove its files."""
        self._closing = True
        with self._working:
            self._crew.close()


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
