"""Durations and sizes in people's notation."""

from __future__ import annotations

import pytest

from harness.units import format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [(90, 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400), ("7", 7)]
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10x", "-5s", 0, "0s", "5m later", True])
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [(1024, 1024), ("512MiB", 2**29), ("2GiB", 2**31), ("2G", 2 * 10**9), ("2 GB", 2 * 10**9)])
def test_sizes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "big", "-1", "0", "1XB", True])
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_bytes(text)


@pytest.mark.parametrize(("seconds", "text"), [(3.21, "3.2 s"), (42, "42 s"), (245, "4 min 05 s"), (7800, "2 h 10 min")])
def test_formatting(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
