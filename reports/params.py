"""Parameters as people read them: only those that differ, in natural order."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any


def differing(params: Sequence[str], versions: Sequence[int]) -> list[str]:
    """`name=value` of those params that are not equal in all the JSON texts; the version too where versions differ."""
    parsed = [json.loads(text) for text in params]
    names = sorted({name for one in parsed for name in one})
    varying = [name for name in names if len({json.dumps(one.get(name, ...), sort_keys=True, default=str) for one in parsed}) > 1]
    shown = [" ".join(f"{name}={plain(one[name])}" for name in varying if name in one) for one in parsed]
    if len(set(versions)) > 1:
        shown = [f"{text} v{version}".strip() for text, version in zip(shown, versions, strict=True)]
    return shown


def plain(value: Any) -> str:
    """A JSON value without quotes around strings."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)  # .1234567 and .1234568 are two values
    return json.dumps(value, separators=(",", ":"))


def fulfils(params: str, wanted: str) -> bool:
    """Whether JSON params hold the values of `NAME=VALUE,...`, in Python's spelling or ours: True or true, 3.0 or 3."""
    own = json.loads(params)
    pairs = [part.partition("=")[::2] for part in wanted.split(",") if part]
    return all(name in own and value in (str(own[name]), plain(own[name])) for name, value in pairs)


def natural(text: str) -> list[tuple[int, float, str]]:
    """A sort key that puts bits=10 after bits=9."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)  # every second one is a number
    return [(0, float(part), "") if at % 2 else (1, 0.0, part) for at, part in enumerate(parts)]
