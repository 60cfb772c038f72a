"""How Python values become column values: canonical JSON, clean text, typed non-finite numbers, UTC times."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from db.errors import LedgerError
from db.records import Kind

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values are equal texts. Non-finite numbers become the strings "nan", "inf", "-inf"
    (JSON has no others); numpy scalars and arrays become plain numbers and lists; NUL characters are replaced (see `clean`)."""
    try:
        text = _encode(value)
    except (TypeError, ValueError):
        text = _encode(_plain(value))
    if text.isascii() and "\\u0000" not in text:
        return text
    return _without_surrogates(text.replace("\\u0000", "␀"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, torch tensors
        return _plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        items = [_plain(item) for item in value]
        return sorted(items, key=repr) if isinstance(value, set | frozenset) else items
    return str(value)


def clean(text: str) -> str:
    """Text that both databases can hold: PostgreSQL knows no NUL character, and UTF-8 no lone surrogates (from undecodable output)."""
    if "\x00" in text:
        text = text.replace("\x00", "␀")
    return text if text.isascii() else _without_surrogates(text)


def _without_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def typed(value: float) -> tuple[float | None, Kind]:
    """(value, kind) as stored: the value is None unless finite."""
    number = float(value)
    if number - number == 0.0:  # faster than math.isfinite, and this is the hottest line of a recording
        return number, "finite"
    if number != number:
        return None, "nan"
    return None, "+inf" if number > 0 else "-inf"


def untyped(value: float | None, kind: str) -> float:
    """The inverse of `typed`."""
    if kind == "finite":
        assert value is not None
        return value
    return {"nan": math.nan, "+inf": math.inf, "-inf": -math.inf}[kind]


def utc(time: datetime, attempt: str) -> datetime:
    """`time` in UTC; a naive time raises LedgerError because nobody could tell what it means."""
    if time.tzinfo is None:
        raise LedgerError(f"Attempt {attempt} has a time without a time zone, {time}; pass an aware datetime such as datetime.now(UTC).")
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def iso(time: datetime) -> str:
    """Fixed-width ISO-8601 UTC text, so that texts sort as times do."""
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat(timespec="microseconds")


def without_password(text: str) -> str:
    """A ledger's URL, or a word of a command line that may hold one, fit for showing: what stands between the user's colon and the last @,
    and in `password=`, is hidden, however badly the URL is written."""
    start = re.match(r"(?:--?\w+=?)?(?:[A-Za-z][\w+.-]*:/{1,3})?", text)
    assert start is not None
    rest = re.sub(r":.*@", ":***@", text[start.end() :], count=1, flags=re.DOTALL)
    return start[0] + re.sub(r"(password=)[^&\s]*", r"\1***", rest, flags=re.IGNORECASE)


def shown_command(words: Sequence[str]) -> list[str]:
    """A command line fit for showing and keeping: without the passwords of PostgreSQL's URLs."""
    return [without_password(word) if "postgres" in word.lower() else word for word in words]


#: Longest tag of a run, in characters.
TAG = 100


def checked_tag(tag: str) -> str:
    """`tag` itself; ValueError with one sentence when it can't be the tag of a run."""
    if not tag.strip() or len(tag) > TAG or not tag.isprintable():
        raise ValueError(f"{tag!r} can't be the tag of a run; a tag has 1 to {TAG} printable characters.")
    return tag


def number_or_none(value: float | None) -> float | None:
    """NaN has no meaning in a verdict's columns: it becomes NULL on both databases."""
    return None if value is None or math.isnan(value) else float(value)
