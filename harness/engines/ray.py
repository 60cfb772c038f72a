"""Actors on Ray, local or on a cluster: one pool per resource shape, several calls in flight per actor."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.engines.base import SHORT_SECONDS, Call, CallEnded, EngineSettings, Event, Shape
from harness.engines.fit import fitting, needs, refusal
from harness.engines.host import Host, machine_id
from harness.engines.wire import pack_call
from harness.engines.zygote import Zygote
from harness.errors import EngineError

#: Calls in flight per actor: one executes, the others have already travelled. Only short calls queue up behind another.
DEPTH = 3

#: How long the list of nodes counts as known.
NODES_SECONDS = 5.0

#: So many actors in a row that die before they answer are no accident.
STILLBORN = 3

#: How long an actor may take to say goodbye.
CLOSE_SECONDS = 2.0

_OBJECT_STORE_BYTES = 256 << 20  #: results are kilobytes


@dataclass
class _Actor:
    """One actor of ours and the calls that are with it, oldest first."""

    handle: Any
    execute: Any  #: its method, bound once: binding costs as much as a no-op trial
    shape: Shape
    calls: dict[int, Call] = field(default_factory=dict)
    affinity: str = ""
    up: bool = False  #: it has answered; until then it may be waiting for a place on the cluster, and calls given to it with it

    def has_room(self, call: Call) -> bool:
        if not self.calls:
            return True
        return len(self.calls) < DEPTH and call.seconds <= SHORT_SECONDS and all(c.seconds <= SHORT_SECONDS for c in self.calls.values())


class RayEngine:
    """Ray as the engine. Uses the Ray this process is already connected to, the cluster at `settings.address`, or starts one here."""

    name = "ray"
    isolated = True

    def __init__(self) -> None:
        self._ray: Any = None
        self._settings = EngineSettings("")
        self._ours = False  #: we connected, so we disconnect
        self._folder: Path | None = None  #: of our own Ray's session and of the zygote's socket
        self._zygote: Zygote | None = None
        self._actors: list[_Actor] = []
        self._queue: deque[Call] = deque()
        self._refs: dict[Any, tuple[_Actor, int]] = {}
        self._pings: dict[Any, _Actor] = {}
        self._stillborn = 0
        self._events: list[Event] = []
        self._nodes_known: list[dict[str, float]] = []
        self._nodes_until = 0.0

    # -- life -------------------------------------------------------------------------------------------------------------------------
    def start(self, settings: EngineSettings, shapes: Sequence[Shape]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Loading torch takes as long as starting Ray: let it happen meanwhile, once for all workers of this machine.
        self._folder = Path(tempfile.mkdtemp(prefix="assay-ray-", dir=_short_base()))
        self._zygote = Zygote(settings.threads, self._folder / "zygote")
        import ray

        self._ray, self._settings = ray, settings
        if not ray.is_initialized():
            self._connect()
        for shape in shapes:
            if not self._fitting(shape):
                sentence = refusal(shape, self._nodes())
                self.stop()
                raise EngineError(sentence)
        for shape in shapes[:1]:  # bring workers up while the first calls are prepared
            for _ in range(self.workers(shape)):
                self._spawn(shape)

    def slots(self, shape: Shape) -> int:
        return DEPTH * self.workers(shape)

    def workers(self, shape: Shape) -> int:
        fitting = self._fitting(shape)
        return max(1, min(fitting, self._settings.workers or fitting))

    def stop(self) -> None:
        if self._zygote is not None:
            self._disconnect()
            self._zygote.close()
            self._zygote = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _disconnect(self) -> None:
        if self._ray is None:
            return
        self._queue.clear()
        with contextlib.suppress(Exception):  # a lost cluster must not keep us from leaving
            goodbyes = [actor.handle.close.options(concurrency_group="control").remote() for actor in self._actors]
            self._ray.wait(goodbyes, num_returns=len(goodbyes), timeout=CLOSE_SECONDS) if goodbyes else None
        for actor in self._actors:
            with contextlib.suppress(Exception):
                self._ray.kill(actor.handle)
        self._actors.clear()
        self._refs.clear()
        self._pings.clear()
        if self._ours:
            self._ray.shutdown()
            self._ours = False
        self._ray = None

    # -- calls ------------------------------------------------------------------------------------------------------------------------
    def submit(self, call: Call) -> None:
        self._queue.append(call)
        self._assign()

    def poll(self, timeout: float) -> list[Event]:
        self._assign()
        if self._refs or self._pings:
            refs = [*self._refs, *self._pings]
            ready, _ = self._ray.wait(refs, timeout=0.0 if self._events else timeout)
            for ref in ready:
                if ref in self._pings:
                    self._greet(ref)
                elif ref in self._refs:
                    self._collect(ref)
            self._assign()
        elif not self._events:
            time.sleep(timeout)
        events, self._events = self._events, []
        return events

    def cancel(self, call: int) -> None:
        for queued in self._queue:
            if queued.id == call:
                self._queue.remove(queued)
                self._events.append(CallEnded(call, "", "cancelled"))
                return
        for actor in self._actors:
            if call in actor.calls:
                actor.handle.cancel.options(concurrency_group="control").remote(call)

    # -- inside -----------------------------------------------------------------------------------------------------------------------
    def _connect(self) -> None:
        settings = self._settings
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        common = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
        try:
            if settings.address:
                common.pop("include_dashboard")
                self._ray.init(address=settings.address, **common)
            else:
                self._ray.init(
                    num_cpus=settings.workers or len(os.sched_getaffinity(0)),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(self._folder),
                    **common,
                )
        except Exception as error:
            where = f"the Ray cluster at {settings.address}" if settings.address else "a local Ray"
            raise EngineError(f"Can't reach {where}: {error}; `--engine process` runs without Ray.") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():  # Ray takes SIGTERM for itself
                    if callable(handler):
                        signal.signal(number, handler)
        self._ours = True

    def _nodes(self) -> list[dict[str, float]]:
        """Resources of the living nodes; asking costs milliseconds, so the answer is kept for a moment."""
        now = time.monotonic()
        if now >= self._nodes_until:
            self._nodes_known = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._nodes_until = now + NODES_SECONDS
        return self._nodes_known

    def _fitting(self, shape: Shape) -> int:
        """How many workers of this shape the cluster's nodes carry at the same time."""
        return fitting(shape, self._nodes())

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
        handle = (
            self._ray.remote(concurrency_groups={"control": 1, "work": 1})(Host)
            .options(**options)
            .remote(self._settings, shape, (machine_id(), str((self._folder or Path()) / "zygote")))
        )
        actor = _Actor(handle, handle.execute.options(concurrency_group="work"), shape)
        self._actors.append(actor)
        self._pings[handle.ping.options(concurrency_group="control").remote()] = actor

    def _greet(self, ref: Any) -> None:
        """An actor is up, or could not be brought up."""
        actor = self._pings.pop(ref)
        try:
            self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            if actor not in self._actors:
                return
            self._actors.remove(actor)
            self._stillborn += 1
            if self._stillborn >= STILLBORN:
                raise EngineError(f"Workers can't be brought up on the Ray cluster: {_first_line(error)}.") from error
        else:
            actor.up, self._stillborn = True, 0

    def _assign(self) -> None:
        waiting: deque[Call] = deque()
        while self._queue:
            call = self._queue.popleft()
            if (actor := self._find(call)) is None:
                waiting.append(call)
                if len(waiting) > DEPTH:  # the others won't find room either
                    break
                continue
            actor.calls[call.id] = call
            actor.affinity = call.affinity
            self._refs[actor.execute.remote(pickle.dumps(pack_call(call), protocol=5))] = (actor, call.id)
        waiting.extend(self._queue)
        self._queue = waiting

    def _find(self, call: Call) -> _Actor | None:
        pool = [actor for actor in self._actors if actor.shape == call.shape]
        idle = [actor for actor in pool if actor.up and not actor.calls]
        if not idle:
            self._adjust(call.shape, pool)
        pool = [actor for actor in pool if actor.up]
        candidates = idle or [actor for actor in pool if actor.has_room(call)]
        if not candidates:
            return None
        return min(candidates, key=lambda actor: (len(actor.calls), actor.affinity != call.affinity))

    def _adjust(self, shape: Shape, pool: list[_Actor]) -> None:
        """Start another actor where there is room; end those that wait for a node that is gone."""
        room = self._room(shape)
        if len(pool) < room:
            self._spawn(shape)
        for actor in [actor for actor in pool if not actor.up][: max(0, len(pool) - room)]:
            self._ray.kill(actor.handle)
            self._actors.remove(actor)
            pool.remove(actor)

    def _room(self, shape: Shape) -> int:
        """How many actors of this shape there may be; ends idle actors of other shapes that stand in the way."""
        others = [actor for actor in self._actors if actor.shape != shape]
        if not others:
            return self.workers(shape)
        total: dict[str, float] = {}
        for name, amount in itertools.chain.from_iterable(node.items() for node in self._nodes()):
            total[name] = total.get(name, 0.0) + amount
        if self._settings.workers:
            total["CPU"] = min(total.get("CPU", 0.0), float(self._settings.workers))

        def fits() -> int:
            wanted = needs(shape)
            used = {name: sum(needs(other.shape).get(name, 0.0) for other in others) for name in wanted}
            return int(min((total.get(name, 0.0) - used[name] + 1e-9) // amount for name, amount in wanted.items())) if wanted else 1

        mine = sum(actor.shape == shape for actor in self._actors)
        for other in [actor for actor in others if not actor.calls]:
            if fits() > mine:
                break
            self._ray.kill(other.handle)
            self._actors.remove(other)
            others.remove(other)
        return min(self.workers(shape), fits())

    def _collect(self, ref: Any) -> None:
        actor, call = self._refs.pop(ref)
        try:
            events = pickle.loads(self._ray.get(ref))
        except self._ray.exceptions.RayError as error:
            self._lost(actor, call, error)
            return
        actor.calls.pop(call, None)
        for event in events:
            self._events += [event] if isinstance(event, CallEnded) else event.events()

    def _lost(self, actor: _Actor, call: int, error: Exception) -> None:
        """The actor or its node is gone. Calls are executed in order, so its oldest is the one that was being executed."""
        for index, (number, lost) in enumerate(list(actor.calls.items())):
            executing = index == 0
            unit = 0 if executing and len(lost.units) == 1 else None
            detail = f"The Ray actor or its node was lost: {_first_line(error)}"
            self._events.append(CallEnded(number, "ray actor", "worker_lost", unit, detail, external=True))
        actor.calls.clear()
        self._refs = {ref: entry for ref, entry in self._refs.items() if entry[0] is not actor}
        if actor in self._actors:
            self._actors.remove(actor)
        with contextlib.suppress(Exception):
            self._ray.kill(actor.handle)


def _short_base() -> str:
    """Where temporary folders have short names: Unix sockets lie in them, whose paths may not exceed 107 characters."""
    return "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()


def _first_line(error: Exception) -> str:
    """A Ray error in one line: the last line of a remote traceback says what happened."""
    lines = [line.strip() for line in str(error).strip().split("\n") if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if 'Traceback' in str(error) else lines[0] if lines else ''}"[:300]
