"""The thread that supervises an actor's worker process: it hands calls over, enforces limits through the crew, and sends answers off."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from harness.engines.base import CallEnded, Shape
from harness.engines.child import TICK_SECONDS
from harness.engines.crew import Crew
from harness.engines.switchboard import REDIAL_SECONDS
from harness.engines.wire import Line, Load, Rows, wait

#: Calls whose answers are kept, because they may have been lost on the way: more are never here at a time.
KEPT = 8

#: With nothing to do it looks about this often all the same.
IDLE_SECONDS = 60.0


class Supervisor(threading.Thread):
    """Executes calls in the order in which they come. Its public methods may be called from any thread."""

    def __init__(self, crew: Crew, shape: Shape, dial: Callable[[Callable[[], bool]], Line | None]) -> None:
        """`dial` connects with the coordinator while the function it gets says that this is wanted; None: it can't."""
        super().__init__(daemon=True)
        self._crew, self._shape, self._dial = crew, shape, dial
        self._child = crew.spawn(shape)  # it loads while the first call travels
        self._waiting: deque[Load] = deque()
        self._line: Line | None = None
        self._on_line: set[int] = set()  #: calls that are answered there
        self._told: Mapping[str, Any] | None = None  #: the environment that the other end of the line knows
        # What other threads touch: mail and wishes, with a pipe that wakes, and answers under a lock.
        self._mail: SimpleQueue[Load | Line] = SimpleQueue()
        self._cancelled: set[int] = set()
        self._closing = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._answers: dict[int, list[Rows | CallEnded]] = {}  #: of the newest calls, ended or not
        self._answered = threading.Condition()

    def submit(self, load: Load) -> None:
        """Execute a call; `answer` has what comes of it."""
        with self._answered:
            self._answers[load.id] = []
        self._post(load)

    def answer(self, call: int) -> list[Rows | CallEnded]:
        """The whole answer to a call once it has ended; nothing when it has never been here."""

        def ended() -> bool:
            events = self._answers.get(call)
            return self._closing or events is None or bool(events and isinstance(events[-1], CallEnded))

        with self._answered:
            self._answered.wait_for(ended)
            return list(self._answers.get(call, ()))

    def cancel(self, call: int) -> None:
        """End a call that executes or waits here, or that comes later."""
        self._cancelled.add(call)
        self._wake()

    def close(self) -> None:
        """End the worker process and remove its files."""
        self._closing = True
        self._wake()
        self.join()

    # -- the thread -------------------------------------------------------------------------------------------------------------------
    def run(self) -> None:
        self._connect()
        try:
            while not self._closing:
                self._step()
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # an actor that supervises no more must not look alive
        self._crew.close()
        with self._answered:
            self._answered.notify_all()

    def _step(self) -> None:
        ready = self._sleep()
        if self._wake_read in ready:
            self._read_mail()
        if self._line is not None and self._line.fileno() in ready:
            self._read_line(self._line)
        events = self._crew.poll(0.0)
        self._deliver(events)
        self._carry_out_cancellations()
        if self._child.dead and (self._waiting or events):
            self._child = self._crew.spawn(self._shape)  # it starts while the next call travels
        while self._waiting and self._child.has_room(self._waiting[0].short):
            self._child.begin(self._waiting.popleft())  # that one lies in its channel already when it ends the one before

    def _sleep(self) -> list[int]:
        """Wait for something to happen; returns the descriptors at which it does."""
        reading, writing = [*self._crew.reading(), self._wake_read], self._crew.writing()
        if self._line is not None:
            reading.append(self._line.fileno())
            if self._line.unsent:
                writing.append(self._line.fileno())
        return wait(reading, TICK_SECONDS if self._crew.busy else IDLE_SECONDS, writing)

    def _read_mail(self) -> None:
        os.read(self._wake_read, 4096)
        with suppress(Empty):
            while True:
                mail = self._mail.get_nowait()
                if isinstance(mail, Load):
                    self._waiting.append(mail)
                else:
                    self._line, self._told = mail, None

    def _read_line(self, line: Line) -> None:
        for message in line.messages():
            load = Load(*message)
            with self._answered:
                self._answers[load.id] = []
            self._on_line.add(load.id)
            self._waiting.append(load)
        line.flush()
        if line.closed:
            line.close()
            self._line = None
            self._on_line.clear()  # the coordinator asks for these answers through Ray
            self._connect(REDIAL_SECONDS)  # not at once: perhaps it has been hung up on because nobody wants it any more

    def _deliver(self, events: Sequence[Rows | CallEnded]) -> None:
        if not events:
            return
        with self._answered:
            for event in events:
                self._answers.setdefault(event.call, []).append(event)
            while len(self._answers) > KEPT:
                del self._answers[next(iter(self._answers))]
            self._answered.notify_all()
        if self._line is not None and (ours := [event for event in events if event.call in self._on_line]):
            self._line.send([self._short(event) for event in ours])
            self._on_line -= {event.call for event in ours if isinstance(event, CallEnded)}

    def _short(self, event: Rows | CallEnded) -> Rows | CallEnded:
        """Without the environment when it has gone that way before."""
        if not isinstance(event, Rows):
            return event
        if event.environment is self._told:
            return Rows(event.call, event.worker, None, event.packed, event.saved)
        self._told = event.environment
        return event

    def _carry_out_cancellations(self) -> None:
        for call in list(self._cancelled):
            if any(load.id == call for load in self._waiting):
                self._waiting = deque(load for load in self._waiting if load.id != call)
                self._deliver([CallEnded(call, "", "cancelled")])
            elif self._child.has(call):
                self._child.cancel(call)
            else:
                continue
            self._cancelled.discard(call)

    # -- other threads ----------------------------------------------------------------------------------------------------------------
    def _post(self, mail: Load | Line) -> None:
        self._mail.put(mail)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it has reason enough to wake
            os.write(self._wake_write, b"!")

    def _connect(self, pause: float = 0.0) -> None:
        """Get a line, beside the work."""

        def connect() -> None:
            time.sleep(pause)
            if (line := self._dial(lambda: not self._closing)) is not None:
                self._post(line)

        threading.Thread(target=connect, daemon=True).start()
