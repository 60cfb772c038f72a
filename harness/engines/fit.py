"""Whether a node can carry a worker of a resource shape, in Ray's names for resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.engines.base import Shape

Node = Mapping[str, float]  #: what one node has in all, by resource


def needs(shape: Shape) -> dict[str, float]:
    """Ray's names for what a worker of this shape holds."""
    amounts = {"CPU": shape.cpus, "GPU": shape.gpus, "memory": float(shape.memory), **dict(shape.custom)}
    return {name: amount for name, amount in amounts.items() if amount > 0}


def fitting(shape: Shape, nodes: Iterable[Node]) -> int:
    """How many workers of this shape the nodes carry at the same time."""
    wanted = needs(shape)
    return sum(int(min((node.get(name, 0.0) + 1e-9) // amount for name, amount in wanted.items())) if wanted else 1 for node in nodes)


def refusal(shape: Shape, nodes: Iterable[Node], types: Iterable[Node] | None = None) -> str:
    """The sentence for a shape that no node can carry, nor (on a cluster that grows) any of the `types` of nodes that it may start."""
    wanted = needs(shape)

    def amounts(nodes: Iterable[Node]) -> str:
        return "; ".join(dict.fromkeys(", ".join(f"{node.get(name, 0.0):g} {name}" for name in wanted) for node in nodes))

    asked = ", ".join(f"{amount:g} {name}" for name, amount in wanted.items())
    known = f" (they have: {found})" if types is not None and (found := amounts(types)) else ""
    ever = "" if types is None else f", nor can any that its autoscaler may start{known}"
    now = f"No node of the Ray cluster can carry a worker with {asked} (the nodes have: {amounts(nodes)})"
    return f"{now}{ever}; lower `resources` in the suite."
