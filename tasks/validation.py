"""Holds what a method's evaluation returned against what its task declares. Nothing undeclared, missing or illegal becomes a result."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from numbers import Real
from typing import Any, cast

from tasks.api import Measured, Metric, Task


@dataclass(frozen=True, slots=True)
class Checked:
    """A Measured reduced to plain floats and JSON. `complaint` is one sentence, or empty when everything is legal; what was
    measured legally is kept either way."""

    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    complaint: str = ""


def check(task: Task, method: str, measured: object) -> Checked:
    """Check `measured` against the metrics that `task` declares."""
    if not isinstance(measured, Measured):
        return Checked(complaint=f"{task.id()} with {method} returned {_kind(measured)} instead of Measured.")
    declared = _declared(type(task))
    metrics: dict[str, float] = {}
    curves: dict[str, tuple[list[float], list[float]]] = {}
    complaints: list[str] = []
    for name, value in measured.metrics.items():
        metric = declared.get(name)
        if metric is None or metric.curve is not None:
            complaints.append(f"Metric {name!r} is not a scalar that {task.id()} declares (it has: {_names(declared, curve=False)})")
        elif not _is_number(value):
            complaints.append(f"Metric {name!r} is {_kind(value)}, not a number")
        else:
            metrics[name] = float(value)
            if problem := _illegal(metric, metrics[name]):
                complaints.append(f"Metric {name!r} {problem}")
    for name, series in measured.curves.items():
        metric = declared.get(name)
        if metric is None or metric.curve is None:
            complaints.append(f"Curve {name!r} is not one that {task.id()} declares (it has: {_names(declared, curve=True)})")
            continue
        curve = _curve(metric, series)
        if isinstance(curve, str):
            complaints.append(f"Curve {name!r} {curve}")
            continue
        curves[name] = curve
        if bad := next((text for value in curve[1] if (text := _illegal(metric, value))), ""):
            complaints.append(f"Curve {name!r} {bad}")
    if len(metrics) + len(curves) < len(declared):
        for name, metric in declared.items():
            if name not in (measured.metrics if metric.curve is None else measured.curves):
                complaints.append(f"{'Metric' if metric.curve is None else 'Curve'} {name!r} is missing")
    info = _plain_json(measured.info)
    if info is None:
        complaints.append("The note `info` is not a JSON object")
    # One sentence: the first complaint stands for the rest, because they usually have one cause.
    return Checked(metrics, curves, info or {}, f"{complaints[0]} ({task.id()} with {method})." if complaints else "")


@cache
def _declared(task: type[Task]) -> Mapping[str, Metric]:
    return {metric.id: metric for metric in task.metrics}


def _curve(metric: Metric, series: object) -> tuple[list[float], list[float]] | str:
    try:
        first, second = cast(tuple[Any, Any], series)
        steps, values = _floats(first), _floats(second)
    except (TypeError, ValueError):
        return "is not a pair (steps, values) of number sequences"
    if len(steps) != len(values):
        return f"has {len(steps)} steps but {len(values)} values"
    if not all(a < b for a, b in pairwise(steps)) or not all(map(math.isfinite, steps)):
        return f"has steps ({metric.curve}) that do not strictly increase"
    return steps, values


def _floats(values: Sequence[Any]) -> list[float]:
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    if not all(map(_is_number, plain)):
        raise ValueError("not numbers")
    return [float(value) for value in plain]


def _illegal(metric: Metric, value: float) -> str:
    if metric.low <= value <= metric.high and value - value == 0:
        return ""  # the usual case: finite and within bounds
    if not math.isfinite(value):
        if metric.finite:
            return f"is {value} although it must be finite"
        if math.isnan(value):
            return ""
    if not metric.low <= value <= metric.high:
        return f"is {value:g}, outside [{metric.low:g}, {metric.high:g}]"
    return ""


def _is_number(value: object) -> bool:
    return type(value) is float or (isinstance(value, Real) and not isinstance(value, bool))


def _plain_json(info: object) -> dict[str, Any] | None:
    if not info and isinstance(info, Mapping):
        return {}
    try:
        plain = json.loads(json.dumps(info))
    except (TypeError, ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None


def _kind(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")


def _names(declared: Mapping[str, Metric], *, curve: bool) -> str:
    return ", ".join(name for name, metric in declared.items() if (metric.curve is not None) == curve) or "none"
