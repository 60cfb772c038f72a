"""Durations and sizes as people write them in suites and on the command line."""

from __future__ import annotations

import math
import re

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_duration(value: str | float) -> float:
    """Seconds of 90, "90s", "10m", "1h30m", "2d". Raises ValueError unless it is positive and finite."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        text = str(value).replace(" ", "").lower()
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
        if re.fullmatch(r"\d+(\.\d+)?", text):
            parts = [(text, "s")]
        elif not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f"{value!r} is not a duration; write 90s, 10m, 1h30m or 2d")
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not 0 < seconds < math.inf:
        raise ValueError(f"a duration must be positive and finite, not {value!r}")
    return seconds


def parse_bytes(value: str | int) -> int:
    """Bytes of 1000000, "512MiB", "2GiB", "2G". Raises ValueError unless it is positive."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?i?)b?", str(value).replace(" ", "").lower())
    if isinstance(value, bool) or not match or match[2] not in _BYTES or not (size := int(float(match[1]) * _BYTES[match[2]])):
        raise ValueError(f"{value!r} is not a size; write 512MiB or 2GiB")
    return size


def format_duration(seconds: float) -> str:
    """ "3.2 s", "4 min 05 s", "2 h 10 min": short, for people."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(size: float) -> str:
    """ "812 B", "1.5 MiB": short, for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
