"""The actors of one run on a Ray cluster: a pool per resource shape, which grows and shrinks with the cluster's nodes."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.engines.base import SHORT_SECONDS, Call, EngineSettings, Shape, Usage
from harness.engines.demand import IDLE_SECONDS, Demand
from harness.engines.fit import Node, fitting, needs, refusal
from harness.engines.host import Host, machine_id
from harness.engines.switchboard import Switchboard
from harness.engines.wire import Line
from harness.errors import EngineError

#: Calls in flight per actor: one executes, the others have already travelled. Only short calls queue up behind another.
DEPTH = 3

#: How long the list of nodes counts as known.
NODES_SECONDS = 5.0

#: So many actors in a row that die before they answer are no accident.
STILLBORN = 3

#: How long an actor may take to say goodbye.
CLOSE_SECONDS = 2.0


@dataclass(eq=False)
class Actor:
    """One actor of ours and the calls that are with it, oldest first."""

    handle: Any
    execute: Any  #: its method, bound once: binding costs as much as a no-op trial
    shape: Shape
    token: bytes = b""  #: by which it is known when it connects
    calls: dict[int, Call] = field(default_factory=dict)
    affinity: str = ""
    line: Line | None = None  #: calls travel on it; without it, as calls of the actor
    environment: Mapping[str, Any] | None = None  #: the last that came on the line
    owed: set[int] = field(default_factory=set)  #: calls that others do by now, but that it may still answer on its line
    reported: dict[int, int] = field(default_factory=dict)  #: last unit of each call that was heard of on a line
    node: str = ""  #: the node it runs on; empty until it has answered: it may be waiting for a place on the cluster
    pulse: Any = None  #: the answer to "are you there?" that is awaited, since `asked`
    asked: float = 0.0
    idle_since: float = 0.0  #: 0: it executes, or nobody has looked

    @property
    def up(self) -> bool:
        return bool(self.node)

    def has_room(self, call: Call) -> bool:
        if not self.calls:
            return True
        return len(self.calls) < DEPTH and call.seconds <= SHORT_SECONDS and all(c.seconds <= SHORT_SECONDS for c in self.calls.values())

    def hang_up(self) -> None:
        """Close its line."""
        if self.line is not None:
            self.line.close()
            self.line = None

    def redeem(self, call: int) -> Any:
        """Ask through Ray for the answer to a call, behind whatever executes."""
        return self.handle.redeem.options(concurrency_group="work").remote(call)

    def control(self, method: str) -> Any:
        """A method that answers while a call executes."""
        return getattr(self.handle, method).options(concurrency_group="control")


class Pools:
    """Actors by shape. While exclusive calls wait or execute, one node is reserved: theirs alone."""

    def __init__(self, ray: Any, settings: EngineSettings, nursery: Path, board: Switchboard) -> None:
        self._ray, self._settings, self._nursery, self._board = ray, settings, nursery, board
        self.actors: list[Actor] = []
        self.away: list[Actor] = []  #: out of reach: they get no calls, but what they finish is taken
        self.greetings: dict[Any, Actor] = {}  #: answers to wait for: see `greet`
        self._stillborn = 0
        self._demand = Demand(ray)
        self._known: dict[str, Node] = {}
        self._known_until = 0.0
        self._reserved: str | None = None

    def start(self, shapes: Sequence[Shape]) -> None:
        """Bring actors up for the first shape. Raises EngineError naming a shape that no node can carry, nor any that may be started."""
        for shape in shapes:
            if not fitting(shape, self._nodes().values()) and not self._demand.can_carry(shape):
                raise EngineError(refusal(shape, self._nodes().values(), self._demand.types if self._demand.grows else None))
        for shape in shapes[:1]:
            for _ in range(0 if shape.exclusive else self.workers(shape)):
                self._spawn(shape)

    def workers(self, shape: Shape) -> int:
        """How many actors of this shape the cluster carries at the same time."""
        if shape.exclusive:
            return 1
        carried = fitting(shape, self._nodes().values())
        return max(1, min(carried, self._settings.workers or carried))

    def in_use(self) -> Usage:
        """Workers that are up, GPUs of those that execute, and the nodes that are waited for."""
        up = [actor for actor in self.actors if actor.up]
        asked = ", ".join(sorted({f"{amount:g} {name}" for shape in self._asked() for name, amount in needs(shape).items()}))
        gpus = sum(actor.shape.gpus for actor in up if actor.calls)
        return Usage(len(up), gpus, f"waiting for nodes with {asked}" if asked else "")

    def close(self) -> None:
        """End every actor."""
        with contextlib.suppress(Exception):  # a lost cluster must not keep us from leaving
            goodbyes = [actor.control("close").remote() for actor in self.actors]
            self._ray.wait(goodbyes, num_returns=len(goodbyes), timeout=CLOSE_SECONDS) if goodbyes else None
        for actor in [*self.actors, *self.away]:
            self.end(actor)
        self.greetings.clear()

    def end(self, actor: Actor) -> None:
        """Kill an actor and forget it."""
        for actors in (self.actors, self.away):
            if actor in actors:
                actors.remove(actor)
        actor.hang_up()
        with contextlib.suppress(Exception):
            self._ray.kill(actor.handle)

    def move(self, actor: Actor, away: bool) -> None:
        """An actor can't be reached any more, or can again."""
        before, after = (self.actors, self.away) if away else (self.away, self.actors)
        if actor in before:
            before.remove(actor)
            after.append(actor)

    def known(self, token: bytes) -> Actor | None:
        """The actor with this token."""
        return next((actor for actor in (*self.actors, *self.away) if secrets.compare_digest(actor.token, token)), None)

    def greet(self, ref: Any) -> None:
        """An actor is up, or could not be brought up. Raises EngineError when none can be."""
        actor = self.greetings.pop(ref)
        try:
            node = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            if actor not in self.actors:
                return
            self.actors.remove(actor)
            self._known_until = 0.0  # perhaps its node is gone
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                raise EngineError(f"Workers can't be brought up on the Ray cluster: {first_line(error)}.") from error
        else:
            actor.node, self._stillborn = node, 0

    def find(self, call: Call) -> Actor | None:
        """The actor that should take a call now, if there is one; otherwise the pool grows if it can."""
        pool = [actor for actor in self.actors if actor.shape == call.shape and not self._in_the_way(actor)]
        idle = [actor for actor in pool if actor.up and not actor.calls]
        if idle:
            self._demand.idle(call.shape)
        else:
            self._adjust(call.shape, pool)
        pool = [actor for actor in pool if actor.up]
        candidates = idle or [actor for actor in pool if actor.has_room(call)]
        if not candidates:
            return None
        return min(candidates, key=lambda actor: (len(actor.calls), actor.affinity != call.affinity))

    def reserve(self, waiting: Iterable[Shape]) -> None:
        """Keep a node for exclusive calls while some of these shapes, those of waiting calls, or of executing ones are exclusive."""
        if self._demand.grows:
            self._shrink()
        wanted = {shape for shape in waiting if shape.exclusive}
        for actor in [actor for actor in self.actors if actor.shape.exclusive and not actor.calls and actor.shape not in wanted]:
            self.end(actor)
        if not wanted:
            if not any(actor.shape.exclusive for actor in self.actors):
                self._reserved = None
            return
        if self._reserved not in self._nodes():
            shape = next(iter(wanted))
            # The smallest that will do: the others go on with what can be shared. Always the same, so that clocks can be compared.
            able = [(node.get("CPU", 0.0), name) for name, node in self._nodes().items() if fitting(shape, [node])]
            self._reserved = min(able)[1] if able else None
            for actor in [actor for actor in self.actors if not actor.up or (actor.shape.exclusive and not actor.calls)]:
                self.end(actor)  # it may be about to start there, or does not hold the whole node
        for actor in [actor for actor in self.actors if self._in_the_way(actor) and not actor.calls]:
            self.end(actor)

    # -- inside -----------------------------------------------------------------------------------------------------------------------
    def _asked(self) -> dict[Shape, int]:
        """How many actors of each shape wait for nodes that are not there yet."""
        if not self._demand.grows:
            return {}
        waiting = Counter(actor.shape for actor in self.actors if not actor.up)
        held = Counter(actor.shape for actor in self.actors)
        over = {shape: min(count, held[shape] - fitting(shape, self._nodes().values())) for shape, count in waiting.items()}
        return {shape: count for shape, count in over.items() if count > 0}

    def _shrink(self) -> None:
        """On a cluster that grows: ask for no more than is needed, and let nodes go that have nothing to do."""
        now, asked = time.monotonic(), self._asked()
        self._demand.hear(asked, list(self._nodes().values()))
        for actor in [actor for actor in self.actors if actor.up]:
            actor.idle_since = 0.0 if actor.calls else actor.idle_since or now
            if actor.calls:
                continue
            needless = [other for other in self.actors if other.shape == actor.shape and not other.up][: asked.pop(actor.shape, 0)]
            for other in needless if now - actor.idle_since < IDLE_SECONDS else [actor, *needless]:
                self.end(other)

    def _in_the_way(self, actor: Actor) -> bool:
        return self._reserved is not None and actor.node == self._reserved and not actor.shape.exclusive

    def _nodes(self) -> Mapping[str, Node]:
        """Resources of the living nodes by id; asking costs milliseconds, so the answer is kept for a moment."""
        now = time.monotonic()
        if now >= self._known_until:
            self._known = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
            self._known_until = now + NODES_SECONDS
        return self._known

    def _spawn(self, shape: Shape) -> None:
        options: dict[str, Any] = {
            "num_cpus": shape.cpus,
            "num_gpus": shape.gpus,
            "resources": dict(shape.custom),
            "max_restarts": 0,  # a lost actor's calls must be looked at before anything runs again
            "max_task_retries": 0,
            "scheduling_strategy": "SPREAD",
        }
        if shape.memory:
            options["memory"] = shape.memory
        if shape.exclusive and self._reserved is not None:
            # All processors of the node: Ray itself then starts nothing beside it, also no trial of another run.
            options["num_cpus"] = self._nodes().get(self._reserved, {}).get("CPU", shape.cpus)
            options["label_selector"] = {"ray.io/node-id": self._reserved}
        elif self._reserved is not None:
            options["label_selector"] = {"ray.io/node-id": f"!{self._reserved}"}
        number = self._board.number()
        handle = (
            self._ray.remote(concurrency_groups={"control": 1, "work": 1})(Host)
            .options(**options)
            .remote(self._settings, shape, (machine_id(), str(self._nursery)), number)
        )
        actor = Actor(handle, handle.execute.options(concurrency_group="work"), shape, number.token)
        self.actors.append(actor)
        self.greetings[actor.control("ping").remote()] = actor

    def _adjust(self, shape: Shape, pool: list[Actor]) -> None:
        """Start another actor where there is room; end those that wait for a node that is gone."""
        carried = fitting(shape, self._nodes().values())
        self._demand.busy(shape, carried)
        room = (self._room(shape) if carried or not self._demand.grows else 0) + self._demand.extra(shape, carried)
        if self._settings.workers:
            room = min(room, self._settings.workers)
        if len(pool) < room:
            self._spawn(shape)
        for actor in [actor for actor in pool if not actor.up][: max(0, len(pool) - room)]:
            self.end(actor)
            pool.remove(actor)

    def _room(self, shape: Shape) -> int:
        """How many actors of this shape there may be; ends idle actors of other shapes that stand in the way."""
        if shape.exclusive:
            return int(self._reserved is not None)
        nodes = [node for name, node in self._nodes().items() if name != self._reserved]
        carried = self.workers(shape) if self._reserved is None else min(self.workers(shape), fitting(shape, nodes))
        others = [actor for actor in self.actors if actor.shape != shape and not actor.shape.exclusive and not self._in_the_way(actor)]
        if not others:
            return carried
        total: dict[str, float] = {}
        for name, amount in itertools.chain.from_iterable(node.items() for node in nodes):
            total[name] = total.get(name, 0.0) + amount
        if self._settings.workers:
            total["CPU"] = min(total.get("CPU", 0.0), float(self._settings.workers))

        def fits() -> int:
            wanted = needs(shape)
            used = {name: sum(needs(other.shape).get(name, 0.0) for other in others) for name in wanted}
            return int(min((total.get(name, 0.0) - used[name] + 1e-9) // amount for name, amount in wanted.items())) if wanted else 1

        mine = sum(actor.shape == shape for actor in self.actors)
        for other in [actor for actor in others if not actor.calls]:
            if fits() > mine:
                break
            self.end(other)
            others.remove(other)
        return min(carried, fits())


def first_line(error: Exception) -> str:
    """A Ray error in one line: the last line of a remote traceback says what happened."""
    lines = [line.strip() for line in str(error).strip().split("\n") if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if 'Traceback' in str(error) else lines[0] if lines else ''}"[:300]
