"""A supervisor's workers: starts them through one zygote, waits for all of them at once, and replaces the zygote when it dies."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from contextlib import suppress

from harness.engines.base import CallEnded, EngineSettings, Shape
from harness.engines.child import TICK_SECONDS, Child
from harness.engines.wire import Rows, wait
from harness.engines.zygote import Exit, Zygote


class Crew:
    """Worker processes of one supervisor. Belongs to one thread. `zygote`: one that is shared; without it, or when it dies, an own one."""

    def __init__(self, settings: EngineSettings, environment: Mapping[str, str] | None = None, zygote: Zygote | None = None) -> None:
        self._settings, self._environment = settings, dict(environment or {})
        self._zygote = zygote or Zygote(settings.preload, settings.threads)
        self._tokens = itertools.count()
        self.children: list[Child] = []

    def spawn(self, shape: Shape) -> Child:
        """A new worker, ready for a call at once (it starts when the zygote has finished loading)."""
        if not self._zygote.alive:
            self._zygote.close()
            self._zygote = Zygote(self._settings.preload, self._settings.threads)
        child = Child(self._zygote, next(self._tokens), self._settings, shape, self._environment)
        self.children.append(child)
        return child

    def poll(self, timeout: float) -> list[Rows | CallEnded]:
        """Events of all workers, waiting up to `timeout` seconds for the first. Limits are enforced here."""
        deadline = time.monotonic() + timeout
        while True:
            events = self._collect()
            left = deadline - time.monotonic()
            if events or left <= 0:
                return events
            wait(self.reading(), min(left, TICK_SECONDS) if self.busy else left, self.writing())

    @property
    def busy(self) -> bool:
        """Some worker has a call: `poll` at least every TICK_SECONDS."""
        return any(child.busy for child in self.children)

    def reading(self) -> list[int]:
        """Descriptors to wait for."""
        lines = [child.line.fileno() for child in self.children if not child.line.closed]  # a closed one would be ready for ever
        return [*lines, self._zygote.fileno()] if self._zygote.alive else lines

    def writing(self) -> list[int]:
        """Descriptors of workers that have not read all they were sent."""
        return [child.line.fileno() for child in self.children if child.line.unsent and not child.line.closed]

    def close(self) -> None:
        for child in self.children:
            child.close()
        self.children.clear()
        self._zygote.close()

    def _collect(self) -> list[Rows | CallEnded]:
        self._hear_zygote()
        events = [event for child in self.children for event in child.pump()]
        if any(child.dead for child in self.children):
            self.children = [child for child in self.children if not child.dead]
        return events

    def _hear_zygote(self) -> None:
        with suppress(EOFError):  # its workers die with it, and their channels say so
            for event in self._zygote.events():
                if isinstance(event, Exit):
                    for child in self.children:
                        if child.pid == event.pid:
                            child.exited(event)
                else:
                    token, pid = event
                    for child in self.children:
                        if child.token == token:
                            child.started(pid)
