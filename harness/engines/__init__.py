"""Engines: where units are executed. `make_engine` is the only place that knows their names."""

from __future__ import annotations

from harness.engines.base import Engine
from harness.errors import EngineError

ENGINES = ("ray", "process", "inline")


def make_engine(name: str) -> Engine:
    """An engine by name, not yet started. Raises EngineError for any other name."""
    if name == "inline":
        from harness.engines.inline import InlineEngine

        return InlineEngine()
    if name == "process":
        from harness.engines.process import ProcessEngine

        return ProcessEngine()
    if name == "ray":
        from harness.engines.ray import RayEngine

        return RayEngine()
    raise EngineError(f"Unknown engine {name!r}; the engines are {', '.join(ENGINES)}.")
