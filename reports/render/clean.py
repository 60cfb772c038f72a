"""Names come from plugins and imported ledgers: whatever they hold must stay text in every format."""

from __future__ import annotations

import unicodedata

#: Names longer than this are cut in the middle for display; exports keep them whole.
LONGEST = 96


def printable(text: str) -> str:
    """The text on one line, without control characters (terminal escapes) and without those that reorder what surrounds them (bidi)."""
    out = []
    for character in text:
        if character in "\n\r\t":
            out.append(" ")
        elif unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
            out.append("\ufffd")
        else:
            out.append(character)
    return "".join(out)


def short(text: str, longest: int = LONGEST) -> str:
    """`printable`, cut in the middle with an ellipsis when too long."""
    text = printable(text[: 4 * longest] + ("…" + text[-longest:] if len(text) > 5 * longest else text[4 * longest :]))
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return text[:head] + "…" + text[-(longest - 1 - head) :]
