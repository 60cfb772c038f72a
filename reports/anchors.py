"""Fragment identifiers of a report's pages and parts."""

from __future__ import annotations


def anchor(kind: str, name: str) -> str:
    """An identifier safe in HTML, CSS and URLs, distinct for distinct names."""
    safe = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else f"-{ord(one):x}-" for one in name[:200])
    return f"{kind}-{safe}"
