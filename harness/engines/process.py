"""Worker processes on this machine, without Ray: a hard time limit kills, and so does a memory limit."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from harness.engines.base import SHORT_SECONDS, Call, CallEnded, EngineSettings, Event, Shape, Usage
from harness.engines.child import Child
from harness.engines.crew import Crew
from harness.engines.wire import Load, pack_call
from harness.errors import EngineError


class ProcessEngine:
    """As many workers as there are processors (or as asked), each a process of its own."""

    name = "process"
    isolated = True

    def __init__(self) -> None:
        self._crew: Crew | None = None
        self._queue: deque[Call] = deque()
        self._ended: list[Event] = []  #: of calls that never began
        self._cpus = 0.0

    def prepare(self, settings: EngineSettings) -> None:
        pass

    def start(self, settings: EngineSettings, shapes: Sequence[Shape]) -> None:
        self._cpus = float(settings.workers or len(os.sched_getaffinity(0)))
        for shape in shapes:
            self._check(shape)
        self._crew = Crew(settings)

    def slots(self, shape: Shape) -> int:
        return 2 * self.workers(shape)  # the second half waits here, so that a worker never waits for the coordinator

    def workers(self, shape: Shape) -> int:
        if shape.exclusive:
            return 1
        return max(1, int(self._cpus // shape.cpus)) if shape.cpus > 0 else max(1, int(self._cpus))

    def submit(self, call: Call) -> None:
        self._queue.append(call)
        self._assign()

    def poll(self, timeout: float) -> list[Event]:
        assert self._crew is not None, "start the engine first"
        events, self._ended = self._ended, []
        self._assign()
        for event in self._crew.poll(0.0 if events else timeout):
            events += [event] if isinstance(event, CallEnded) else event.events()
        self._assign()
        return events

    def usage(self) -> Usage:
        return Usage(int(self._cpus))

    def hand_back(self) -> None:
        self._ended += [CallEnded(call.id, "") for call in self._queue]
        self._queue.clear()

    def cancel(self, call: int) -> None:
        for queued in self._queue:
            if queued.id == call:
                self._queue.remove(queued)
                self._ended.append(CallEnded(call, "", "cancelled"))
                return
        for child in self._crew.children if self._crew else ():
            child.cancel(call)

    def stop(self) -> None:
        self._queue.clear()
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def _assign(self) -> None:
        """Give waiting calls to workers with room, and start workers while processors are free."""
        waiting: deque[Call] = deque()
        full = self._making_way()
        for call in self._queue:
            child = None if call.shape in full else self._find(call)
            if child is not None:
                child.begin(Load(*pack_call(call)))
            else:
                full.add(call.shape)
                waiting.append(call)
        self._queue = waiting

    def _making_way(self) -> set[Shape]:
        """Shapes whose calls wait: an exclusive one for whatever executes, and everything else for it."""
        busy = {child.shape for child in self._crew.children if child.busy} if self._crew else set()
        queued = [call.shape for call in self._queue]
        alone = next((shape for shape in (*busy, *queued) if shape.exclusive), None)
        return set() if alone is None else {shape for shape in queued if shape != alone or busy - {alone}}

    def _find(self, call: Call) -> Child | None:
        assert self._crew is not None
        shape = call.shape
        living = [child for child in self._crew.children if not child.dead]
        idle = [child for child in living if not child.busy]
        if fitting := [child for child in idle if child.shape == shape]:
            return max(fitting, key=lambda child: child.affinity == call.affinity)
        if not (shape.exclusive and len(idle) < len(living)):  # it executes: no second one beside it
            used = sum(child.shape.cpus for child in living)
            for other in idle:  # of another shape: make room
                if used + shape.cpus <= self._cpus:
                    break
                other.close()
                used -= other.shape.cpus
            if used + shape.cpus <= self._cpus:
                return self._crew.spawn(shape)
        return next(
            (child for child in living if not child.dead and child.shape == shape and child.has_room(call.seconds <= SHORT_SECONDS)), None
        )

    def _check(self, shape: Shape) -> None:
        if shape.cpus > self._cpus:
            raise EngineError(
                f"A task asks for {shape.cpus:g} CPUs per trial, but the process engine has {self._cpus:g}; lower `cpus` in the suite."
            )
        if shape.gpus or shape.custom:
            asked = f"{shape.gpus:g} GPUs" if shape.gpus else ", ".join(name for name, _ in shape.custom)
            raise EngineError(f"A task asks for {asked}, which the process engine does not manage; use --engine ray.")
