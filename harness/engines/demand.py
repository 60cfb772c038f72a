"""What a run asks of a cluster that grows: workers beyond those that its nodes carry. They wait for a place, and that is what an
autoscaler looks at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from harness.engines.base import Shape
from harness.engines.fit import Node, fitting, needs, refusal
from harness.engines.growth import infeasible, look
from harness.errors import EngineError

#: All workers of a shape must have been busy for so long before more are asked for: a node takes a minute or two to come.
BUSY_SECONDS = 10.0

#: A worker without work for so long is ended, so that its node can go.
IDLE_SECONDS = 60.0

#: How often the autoscaler is asked what it thinks of what it was asked for.
ANSWER_SECONDS = 5.0

#: How long the head node may take to say what its autoscaler may start.
_HEAD_SECONDS = 30.0


class Demand:
    """Looks at the cluster when it first matters: when a shape fits no node, or when workers have been busy for a while."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._found: dict[str, Any] | None = None
        self._busy: dict[Shape, tuple[float, int]] = {}  #: since when all workers of a shape are busy, and how many there were room for
        self._answer_at = 0.0

    @property
    def grows(self) -> bool:
        """Whether the cluster is known to grow, or may. False before anybody had to know."""
        return self._found is not None and self._found["grows"] is not False

    @property
    def types(self) -> list[Node] | None:
        """What the nodes have that the cluster may start; None: not known."""
        types = self._look()["types"]
        return None if types is None else [node for node, most in types if most > 0]

    def can_carry(self, shape: Shape) -> bool:
        """Whether a node that carries the shape may be started one day."""
        if self._look()["grows"] is False:
            return False
        return self.types is None or fitting(shape, self.types) > 0

    def idle(self, shape: Shape) -> None:
        """A worker of this shape has nothing to do."""
        self._busy.pop(shape, None)

    def busy(self, shape: Shape, carried: int) -> None:
        """A call waits, and no worker of this shape is idle; the nodes carry so many."""
        if self._busy.get(shape, (0.0, -1))[1] != carried:
            self._busy[shape] = time.monotonic(), carried

    def extra(self, shape: Shape, carried: int) -> int:
        """How many workers more than the nodes carry should wait for new ones: one where none fits, as many again after a busy while."""
        now = time.monotonic()
        if carried and (shape.exclusive or now - self._busy.get(shape, (now, 0))[0] < BUSY_SECONDS):
            return 0
        if not self.can_carry(shape):
            return 0
        types, step = self._look()["types"], max(1, carried)
        return step if types is None else min(step, sum(most * fitting(shape, [node]) for node, most in types))

    def hear(self, shapes: Mapping[Shape, int], nodes: list[Node]) -> None:
        """Raise EngineError when the autoscaler says that it can start no node for one of these shapes, which wait for one."""
        now = time.monotonic()
        if now < self._answer_at or self._look()["types"] is not None or not shapes:
            return
        self._answer_at = now + ANSWER_SECONDS
        refused = infeasible(self._address())
        for shape in shapes:
            if needs(shape) in refused and not fitting(shape, nodes):
                raise EngineError(refusal(shape, nodes, ()))

    def _look(self) -> dict[str, Any]:
        if self._found is None:
            self._found = look(self._address())
            if self._found["grows"] is not False and self._found["types"] is None:
                self._found = self._ask_head() or self._found
        return self._found

    def _ask_head(self) -> dict[str, Any] | None:
        """The same, seen from the head node: there lies the file that says which nodes may be started."""
        on_head = self._ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001}, max_retries=0)(look)
        ready, _ = self._ray.wait([on_head.remote(self._address())], timeout=_HEAD_SECONDS)
        try:
            return self._ray.get(ready[0]) if ready else None
        except self._ray.exceptions.RayError:  # Assay is not there: the workers will say so
            return None

    def _address(self) -> str:
        return str(self._ray.get_runtime_context().gcs_address)
