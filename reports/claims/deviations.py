"""Claims that were edited after they were first declared: what changed, and whether results were already there to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit: the day, what changed in words, and how many trials of the claim's task had finished by then."""

    day: str
    changed: str
    trials_before: int

    @property
    def deviation(self) -> bool:
        """The edit came after results: it may have been made because of them."""
        return self.trials_before > 0

    @property
    def text(self) -> str:
        """One sentence for people."""
        if self.deviation:
            return f"Deviation: edited on {self.day}, after {self.trials_before:,} trials of its task had finished ({self.changed})."
        return f"Edited on {self.day}, before any trial of its task had finished ({self.changed})."


def edits(ledger: Ledger, family: str) -> dict[str, list[Edit]]:
    """The edits of each edited claim of the family, oldest first."""
    rows = ledger.query(
        "SELECT r.claim, r.definition, r.replaced, c.definition AS now, c.task "
        "FROM claim_revisions r JOIN claims c ON c.claim = r.claim WHERE c.family = :family ORDER BY r.claim, r.replaced",
        {"family": family},
    ).to_pylist()
    out: dict[str, list[Edit]] = {}
    for at, row in enumerate(rows):
        following = rows[at + 1] if at + 1 < len(rows) and rows[at + 1]["claim"] == row["claim"] else None
        after = following["definition"] if following else row["now"]
        finished = ledger.query(
            "SELECT COUNT(*) AS n FROM trials WHERE task = :task AND finished < :moment", {"task": row["task"], "moment": row["replaced"]}
        ).to_pylist()[0]["n"]
        edit = Edit(str(row["replaced"])[:10], _changes(json.loads(row["definition"]), json.loads(after)), int(finished))
        out.setdefault(row["claim"], []).append(edit)
    return out


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    parts = [f"{name} {_short(before.get(name))} → {_short(after.get(name))}" for name in names]
    return "; ".join(parts) or "wording of the record only"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else text[:57] + "…"
