"""Fragment identifiers of a report's pages and parts."""

from __future__ import annotations

import hashlib
import re

#: Longer identifiers are cut: they name files, too.
LONGEST = 100


def anchor(kind: str, name: str) -> str:
    """An identifier safe in HTML, CSS, URLs and file names, distinct for distinct names."""
    safe = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else f"-{ord(one):x}-" for one in name[: LONGEST + 1])
    if len(safe) > LONGEST or re.search("-[0-9a-f]+-", name):  # what was cut off, or reads like a character written as its number
        safe = f"{safe[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"{kind}-{safe}"
