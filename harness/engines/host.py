"""What runs inside a Ray actor: a supervisor of one worker process. Of Ray itself it only asks where it is.

The work is done in a process below the actor, not in the actor: a unit that segfaults, hangs or leaks then costs a fork instead of an
actor, its output and the finished part of its batch survive, and limits are enforced beside it rather than from across the network.
One thread supervises. Calls reach it by a line from the coordinator (see switchboard.py) or, where there is none, as calls of the actor.
"""

from __future__ import annotations

import os
import pickle
import threading
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from harness.engines.base import CallEnded, EngineSettings, Shape
from harness.engines.child import TICK_SECONDS
from harness.engines.crew import Crew
from harness.engines.switchboard import Number, dial
from harness.engines.wire import Line, Load, Rows, wait
from harness.engines.zygote import Zygote

#: Decided by Ray per actor; the worker process must see the same devices.
_DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")

#: Calls whose answers an actor keeps, because they may have been lost on the way: more are never with it at a time.
KEPT = 8


class Host:
    """Executes calls in the order in which they come. Its methods may be called from any thread."""

    def __init__(
        self, settings: EngineSettings, shape: Shape, nursery: tuple[str, str] | None = None, number: Number | None = None
    ) -> None:
        """`nursery`: machine and socket path of a zygote that may be shared (see `machine_id`). `number`: where the coordinator listens."""
        self._settings, self._shape, self._nursery, self._number = settings, shape, nursery, number
        self._mail: SimpleQueue[Load | Line] = SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._cancelled: set[int] = set()
        self._kept: dict[int, list[Rows | CallEnded]] = {}  #: of the newest calls, executed or not, by id
        self._heard = threading.Condition()  #: guards `_kept`
        self._closing = False
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self._dial()

    # -- what the coordinator calls through Ray ---------------------------------------------------------------------------------------
    def execute(self, message: bytes) -> bytes:
        """Execute a packed call; returns the pickled list of its Rows and its CallEnded."""
        load = Load(*pickle.loads(message))
        with self._heard:
            self._kept[load.id] = []
        self._post(load)
        return self.redeem(load.id)

    def redeem(self, call: int) -> bytes:
        """The whole answer to a call once it has ended; no events when the call has never been here."""

        def ended() -> bool:
            events = self._kept.get(call)
            return self._closing or events is None or bool(events and isinstance(events[-1], CallEnded))

        with self._heard:
            self._heard.wait_for(ended)
            return pickle.dumps(self._kept.get(call, []), protocol=5)

    def cancel(self, call: int) -> None:
        """End a call that executes or waits here."""
        self._cancelled.add(call)
        self._wake()

    def ping(self) -> str:
        """The id of the Ray node it is on; answers when the actor is up."""
        return _node()

    def close(self) -> None:
        """End the worker process and remove its files."""
        self._closing = True
        self._wake()
        self._thread.join()

    # -- inside -----------------------------------------------------------------------------------------------------------------------
    def _post(self, mail: Load | Line) -> None:
        self._mail.put(mail)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it has more than enough reason to wake
            os.write(self._wake_write, b"!")

    def _dial(self) -> None:
        """Connect with the coordinator, beside the work."""
        if self._number is not None:
            threading.Thread(target=self._connect, args=(self._number,), daemon=True).start()

    def _connect(self, number: Number) -> None:
        line = dial(number, _node(), lambda: not self._closing)
        if line is not None:
            line.send(_node())
            self._post(line)

    def _live(self) -> None:
        devices = {name: os.environ[name] for name in _DEVICE_VARIABLES if name in os.environ}
        crew = Crew(self._settings, devices, _shared_zygote(self._nursery))
        try:
            _Supervision(self, crew, self._shape).run()
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # an actor that supervises no more must not look alive
        finally:
            crew.close()
            with self._heard:
                self._heard.notify_all()


class _Supervision:
    """The supervising thread's state: the worker process, the calls that wait for it, and the line."""

    def __init__(self, host: Host, crew: Crew, shape: Shape) -> None:
        self._host, self._crew, self._shape = host, crew, shape
        self._child = crew.spawn(shape)  # it loads while the first call travels
        self._waiting: deque[Load] = deque()
        self._line: Line | None = None
        self._by_line: set[int] = set()  #: calls that are answered there
        self._environment: object = None  #: the one that the coordinator's end of the line knows

    def run(self) -> None:
        while not self._host._closing:
            self._wait()
            self._read_mail()
            self._read_line()
            events = self._crew.poll(0.0)
            self._deliver(events)
            self._cancel()
            if self._child.dead and (self._waiting or events):
                self._child = self._crew.spawn(self._shape)  # it starts while the next call travels
            while self._waiting and self._child.has_room(self._waiting[0].short):
                self._child.begin(self._waiting.popleft())  # that one lies in its channel already when it ends the one before

    def _wait(self) -> None:
        reading, writing = [*self._crew.reading(), self._host._wake_read], self._crew.writing()
        if self._line is not None:
            reading.append(self._line.fileno())
            if self._line.unsent:
                writing.append(self._line.fileno())
        wait(reading, TICK_SECONDS if self._crew.busy else 60.0, writing)
        with suppress(BlockingIOError):
            os.read(self._host._wake_read, 4096)

    def _read_mail(self) -> None:
        with suppress(Empty):
            while True:
                mail = self._host._mail.get_nowait()
                if isinstance(mail, Load):
                    self._waiting.append(mail)
                else:
                    self._line, self._environment = mail, None

    def _read_line(self) -> None:
        if self._line is None:
            return
        for message in self._line.messages():
            load = Load(*message)
            with self._host._heard:
                self._host._kept[load.id] = []
            self._by_line.add(load.id)
            self._waiting.append(load)
        self._line.flush()
        if self._line.closed:
            self._line.close()
            self._line = None
            self._by_line.clear()  # the coordinator asks for these answers through Ray
            self._host._dial()

    def _deliver(self, events: list[Rows | CallEnded]) -> None:
        if not events:
            return
        host = self._host
        with host._heard:
            for event in events:
                host._kept.setdefault(event.call, []).append(event)
            while len(host._kept) > KEPT:
                del host._kept[next(iter(host._kept))]
            host._heard.notify_all()
        if self._line is not None and (ours := [event for event in events if event.call in self._by_line]):
            self._line.send([self._short(event) for event in ours])
            self._by_line -= {event.call for event in ours if isinstance(event, CallEnded)}

    def _short(self, event: Rows | CallEnded) -> Rows | CallEnded:
        """Without the environment when it has gone that way before."""
        if not isinstance(event, Rows):
            return event
        if event.environment is self._environment:
            return Rows(event.call, event.worker, None, event.packed, event.saved)
        self._environment = event.environment
        return event

    def _cancel(self) -> None:
        cancelled = self._host._cancelled
        for call in list(cancelled):
            if any(load.id == call for load in self._waiting):
                self._waiting = deque(load for load in self._waiting if load.id != call)
                self._deliver([CallEnded(call, "", "cancelled")])
                cancelled.discard(call)
            elif self._child.has(call):
                self._child.cancel(call)
                cancelled.discard(call)


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


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
