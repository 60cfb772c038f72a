"""What runs inside a Ray actor: a supervisor of one worker process. Of Ray itself it only asks where it is.

The work is done in a process below the actor, not in the actor: a unit that segfaults, hangs or leaks then costs a fork instead of an
actor, its output and the finished part of its batch survive, and limits are enforced beside it rather than from across the network.
Calls come on a line from the coordinator (see switchboard.py) or, where there is none, as calls of the actor.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

from harness.engines.base import EngineSettings, Shape
from harness.engines.crew import Crew
from harness.engines.supervisor import Supervisor
from harness.engines.switchboard import Number, dial
from harness.engines.wire import Line, Load
from harness.engines.zygote import Zygote

#: Decided by Ray per actor; the worker process must see the same devices.
_DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")


class Host:
    """The actor."""

    def __init__(self, settings: EngineSettings, shape: Shape, nursery: tuple[str, str], number: Number) -> None:
        """`nursery`: machine and socket path of a zygote that may be shared (see `machine_id`). `number`: where the coordinator listens."""
        devices = {name: os.environ[name] for name in _DEVICE_VARIABLES if name in os.environ}
        self._number = number
        self._supervisor = Supervisor(Crew(settings, devices, _shared_zygote(nursery)), shape, self._dial)
        self._supervisor.start()

    def execute(self, message: bytes) -> bytes:
        """Execute a packed call; returns the pickled list of its Rows and its CallEnded."""
        load = Load(*pickle.loads(message))
        self._supervisor.submit(load)
        return self.redeem(load.id)

    def redeem(self, call: int) -> bytes:
        """The pickled answer to a call once it has ended; an empty list when the call has never been here."""
        return pickle.dumps(self._supervisor.answer(call), protocol=5)

    def cancel(self, call: int) -> None:
        """End a call that executes or waits here."""
        self._supervisor.cancel(call)

    def ping(self) -> str:
        """The id of the Ray node it is on; answers when the actor is up."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def close(self) -> None:
        """End the worker process and remove its files."""
        self._supervisor.close()

    def _dial(self, wanted: Callable[[], bool]) -> Line | None:
        line = dial(self._number, self.ping(), wanted)
        if line is not None:
            line.send(self.ping())
        return line


def machine_id() -> str:
    """The same text for two processes exactly when they run on the same machine (since its last start)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.uname().nodename


def _shared_zygote(nursery: tuple[str, str]) -> Zygote | None:
    if nursery[0] != machine_id():
        return None
    try:
        return Zygote.connect(Path(nursery[1]))
    except OSError:  # another container of the machine, or gone: an own one then
        return None
