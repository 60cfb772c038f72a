"""Actors on Ray, local or on a cluster: one pool per resource shape, several calls in flight per actor."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.engines.base import Call, CallEnded, EngineSettings, Event, Shape, Usage
from harness.engines.connection import Connection
from harness.engines.pools import DEPTH, Actor, Pools, first_line
from harness.engines.switchboard import Switchboard
from harness.engines.wire import Line, Rows, pack_call, wait
from harness.engines.zygote import Zygote
from harness.errors import EngineError

#: A busy actor is asked this often whether it is there; when it has not answered for so long, its calls are given to others.
PULSE_SECONDS, PATIENCE_SECONDS = 5.0, 30.0

#: After so long out of reach an actor is ended: it holds a place that others could use.
ABANDON_SECONDS = 300.0

#: Where there are lines to listen to or to wait for, Ray is asked for news this often.
RAY_SECONDS = 0.02


class RayEngine:
    """Ray as the engine. Uses the Ray this process is already connected to, the cluster at `settings.address`, or starts one here."""

    name = "ray"
    isolated = True

    def __init__(self) -> None:
        self._ray: Any = None
        self._settings = EngineSettings("")
        self._folder: Path | None = None  #: of our own Ray's session and of the zygote's socket
        self._zygote: Zygote | None = None
        self._connection: Connection | None = None  #: ours; None: the process was connected before
        self._pools: Pools | None = None
        self._board: Switchboard | None = None
        self._refs_at = 0.0
        self._queue: deque[Call] = deque()
        self._shapes: set[Shape] = set()  #: of all calls so far
        self._refs: dict[Any, tuple[Actor, int]] = {}
        self._events: list[Event] = []
        self._unheard: list[tuple[Actor, int]] = []  #: calls whose answer was lost on the way
        self._watch_at = 0.0

    # -- life -------------------------------------------------------------------------------------------------------------------------
    def prepare(self, settings: EngineSettings) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray, self._settings = ray, settings
        self._folder = Path(tempfile.mkdtemp(prefix="assay-ray-", dir=_short_base()))
        if not ray.is_initialized():
            self._connection = Connection(ray, settings, self._folder)
            self._connection.start()

    def start(self, settings: EngineSettings, shapes: Sequence[Shape]) -> None:
        if self._folder is None:
            self.prepare(settings)
        assert self._folder is not None
        # Loading torch takes as long as starting Ray: let it happen meanwhile, once for all workers of this machine.
        self._zygote = Zygote(settings.preload, settings.threads, self._folder / "zygote")
        self._settings, ray = settings, self._ray
        if self._connection is not None:
            self._connection.wait()
        self._board = Switchboard(self._folder / "line", ray.get_runtime_context().get_node_id(), self._network_address())
        self._pools = Pools(ray, settings, self._folder / "zygote", self._board)
        try:
            self._pools.start(shapes)
        except EngineError:
            self.stop()
            raise

    def slots(self, shape: Shape) -> int:
        return 2 if shape.exclusive else DEPTH * self.workers(shape)

    def workers(self, shape: Shape) -> int:
        assert self._pools is not None, "start the engine first"
        return self._pools.workers(shape)

    def stop(self) -> None:
        self._disconnect()
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _disconnect(self) -> None:
        if self._ray is None:
            return
        self._queue.clear()
        if self._pools is not None:
            self._pools.close()
            self._pools = None
        if self._board is not None:
            self._board.close()
            self._board = None
        self._refs.clear()
        self._unheard.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._ray = None

    # -- calls ------------------------------------------------------------------------------------------------------------------------
    def submit(self, call: Call) -> None:
        self._queue.append(call)
        self._shapes.add(call.shape)
        self._assign()

    def poll(self, timeout: float) -> list[Event]:
        assert self._pools is not None, "start the engine first"
        self._assign()
        self._watch()
        refs = [*self._refs, *self._pools.greetings]
        if not refs:
            self._listen(0.0 if self._events else timeout)
        elif not any(actor.line for actor in self._pools.actors):
            self._listen(0.0)
            self._hear_ray(refs, 0.0 if self._events else min(timeout, RAY_SECONDS))
        else:  # there is no waiting for both: lines first, and Ray, which takes a while to ask, now and then
            self._listen(0.0 if self._events else min(timeout, RAY_SECONDS))
            if time.monotonic() >= self._refs_at:
                self._hear_ray([ref for ref in refs if ref in self._refs or ref in self._pools.greetings], 0.0)
                self._refs_at = time.monotonic() + RAY_SECONDS
        self._assign()
        events, self._events = self._events, []
        return events

    def usage(self) -> Usage:
        return self._pools.in_use() if self._pools is not None else Usage(0)

    def hand_back(self) -> None:
        self._events += [CallEnded(call.id, "") for call in self._queue]
        self._queue.clear()

    def cancel(self, call: int) -> None:
        for queued in self._queue:
            if queued.id == call:
                self._queue.remove(queued)
                self._events.append(CallEnded(call, "", "cancelled"))
                return
        for actor in self._pools.actors if self._pools else ():
            if call in actor.calls:
                actor.control("cancel").remote(call)

    # -- inside -----------------------------------------------------------------------------------------------------------------------
    def _network_address(self) -> str | None:
        """Where actors on other nodes can reach this process; None when there are none, or when their connections must be encrypted."""
        if (self._connection is not None and not self._settings.address) or os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return None
        return str(self._ray.util.get_node_ip_address())

    def _assign(self) -> None:
        assert self._pools is not None
        self._pools.reserve(call.shape for call in self._queue)
        waiting: deque[Call] = deque()
        full: set[Shape] = set()
        while self._queue and len(full) < len(self._shapes):
            call = self._queue.popleft()
            if call.shape in full or (actor := self._pools.find(call)) is None:
                full.add(call.shape)
                waiting.append(call)
                continue
            actor.calls[call.id] = call
            actor.affinity = call.affinity
            if actor.line is not None:
                actor.line.send(pack_call(call))
            else:
                self._refs[actor.execute.remote(pickle.dumps(pack_call(call), protocol=5))] = (actor, call.id)
        waiting.extend(self._queue)
        self._queue = waiting

    def _listen(self, timeout: float) -> None:
        """Take what comes on lines, waiting up to `timeout` seconds for the first."""
        assert self._pools is not None
        assert self._board is not None
        actors = {actor.line.fileno(): actor for actor in (*self._pools.actors, *self._pools.away) if actor.line is not None}
        unsent = [fd for fd, actor in actors.items() if actor.line is not None and actor.line.unsent]
        for fd in wait([*self._board.filenos(), *actors], timeout, unsent):
            if fd in actors:
                self._hear(actors[fd])
            else:
                for token, line in self._board.arrivals():
                    self._connected(self._pools.known(token), line)

    def _connected(self, actor: Actor | None, line: Line) -> None:
        """Somebody has connected, in whose name we know an actor, or nobody."""
        if actor is None:
            line.close()
            return
        if actor.line is not None:  # it knows before us that the one before is dead
            self._cut_off(actor)
        actor.line = line

    def _hear(self, actor: Actor) -> None:
        """Everything that has come on an actor's line."""
        line = actor.line
        if line is None:
            return
        line.flush()
        for message in line.messages():
            if isinstance(message, str):  # its first word
                actor.node = message
            else:
                self._take(actor, message)
        if line.closed:
            self._cut_off(actor)

    def _cut_off(self, actor: Actor) -> None:
        """An actor's line is dead; it may be, too. Ray knows, and brings what it has not said yet."""
        actor.hang_up()
        for call in (*actor.calls, *actor.owed):
            self._refs[actor.redeem(call)] = (actor, call)
        actor.owed.clear()

    def _take(self, actor: Actor, events: Sequence[Rows | CallEnded]) -> None:
        """What an actor says of its calls, each time only what is new."""
        for event in events:
            late = event.call not in actor.calls
            if isinstance(event, Rows):
                known = actor.reported.get(event.call, -1)
                done = [unit for unit in event.events(actor.environment) if unit.unit > known]
                if done:
                    actor.environment, actor.reported[event.call] = done[0].environment, done[-1].unit
                    self._events += done
                continue
            actor.reported.pop(event.call, None)
            actor.owed.discard(event.call)
            if late:
                self._take_back(actor)
            else:
                del actor.calls[event.call]
                self._events.append(event)

    def _hear_ray(self, refs: list[Any], timeout: float) -> None:
        """Take what has come through Ray."""
        assert self._pools is not None
        ready, _ = self._ray.wait(refs, timeout=timeout)
        for ref in ready:
            if ref in self._pools.greetings:
                self._pools.greet(ref)
            elif ref in self._refs:
                self._collect(ref)

    def _collect(self, ref: Any) -> None:
        actor, call = self._refs.pop(ref)
        try:
            events = pickle.loads(self._ray.get(ref))
        except self._ray.exceptions.ActorUnavailableError as error:
            self._unheard.append((actor, call))
            self._out_of_reach(actor, first_line(error))
            return
        except self._ray.exceptions.RayError as error:
            self._lost(actor, f"The Ray actor or its node was lost: {first_line(error)}")
            return
        if not (events and isinstance(events[-1], CallEnded)):
            events.append(CallEnded(call, "ray actor"))  # it has never arrived there
        self._take(actor, events)

    def _lost(self, actor: Actor, detail: str) -> None:
        """The actor or its node is gone."""
        if actor.line is not None:  # its last words
            for message in actor.line.messages():
                self._take(actor, () if isinstance(message, str) else message)
        self._give_back(actor, detail)
        self._refs = {ref: entry for ref, entry in self._refs.items() if entry[0] is not actor}
        self._unheard = [entry for entry in self._unheard if entry[0] is not actor]
        if self._pools is not None:
            self._pools.end(actor)

    def _out_of_reach(self, actor: Actor, detail: str) -> None:
        """Nobody knows what has become of the actor: others do its work, but what it finishes is taken when it comes."""
        self._give_back(actor, f"The Ray actor on node {actor.node[:8]} does not answer: {detail}")
        if self._pools is not None:
            self._pools.move(actor, away=True)

    def _give_back(self, actor: Actor, detail: str) -> None:
        """End the calls of an actor. They are executed in order, so the oldest is the one that was being executed."""
        if actor.line is not None:
            actor.owed |= actor.calls.keys()
        for index, (number, call) in enumerate(actor.calls.items()):
            unit = 0 if index == 0 and len(call.units) == 1 else None
            self._events.append(CallEnded(number, "ray actor", "worker_lost", unit, detail, external=True, unwatched=True))
        actor.calls.clear()

    def _watch(self) -> None:
        """Ask busy actors whether they are there, and draw conclusions from silence."""
        now = time.monotonic()
        if now < self._watch_at or self._pools is None:
            return
        self._watch_at = now + PULSE_SECONDS
        for actor in [*self._pools.actors, *self._pools.away]:
            away = actor in self._pools.away
            if actor.pulse is not None and self._ray.wait([actor.pulse], timeout=0)[0]:
                self._answered(actor)
            silent = now - actor.asked if actor.pulse is not None else 0.0
            if away and silent > ABANDON_SECONDS:
                self._lost(actor, "")
            elif not away and silent > PATIENCE_SECONDS:
                self._out_of_reach(actor, f"silent for {silent:.0f} s.")
            elif actor.pulse is None and (actor.calls or away):
                actor.pulse, actor.asked = actor.control("ping").remote(), now

    def _answered(self, actor: Actor) -> None:
        """Its pulse is there, as a beat or as an error."""
        pulse, actor.pulse = actor.pulse, None
        try:
            self._ray.get(pulse)
        except self._ray.exceptions.ActorUnavailableError:
            actor.pulse = actor.control("ping").remote()  # silent since it was first asked
            return
        except self._ray.exceptions.RayError as error:
            self._lost(actor, f"The Ray actor or its node was lost: {first_line(error)}")
            return
        for entry in [entry for entry in self._unheard if entry[0] is actor]:
            self._unheard.remove(entry)
            self._refs[actor.redeem(entry[1])] = entry
        self._take_back(actor)

    def _take_back(self, actor: Actor) -> None:
        """An actor answers again: calls go to it when nothing old is outstanding any more."""
        if self._pools is not None and not actor.owed and not any(other is actor for other, _ in (*self._refs.values(), *self._unheard)):
            self._pools.move(actor, away=False)


def _short_base() -> str:
    """Where temporary folders have short names: Unix sockets lie in them, whose paths may not exceed 107 characters."""
    return "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()
