"""Saved queries: package data in `db/queries/`, and the user's own files in `~/.config/assay/queries/` (they win).

A file NAME.sql holds one SELECT over the public views; its first line is a comment that says what it answers.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from db.errors import QueryRefused

PACKAGE_FOLDER = Path(__file__).parent / "queries"


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """`origin` is "assay" or the path of the user's file."""

    name: str
    doc: str
    sql: str
    origin: str


def user_folder() -> Path:
    """Where people put their own queries."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "assay" / "queries"


def saved_queries() -> dict[str, SavedQuery]:
    """All saved queries by name. QueryRefused names a file that can't be read."""
    found = {}
    for folder, origin in ((PACKAGE_FOLDER, "assay"), (user_folder(), "")):
        for path in sorted(folder.glob("*.sql")) if folder.is_dir() else []:
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise QueryRefused(f"The saved query {path} can't be read ({error}); mend or remove it.") from None
            first = text.lstrip().split("\n", 1)[0]
            doc = first.removeprefix("--").strip() if first.startswith("--") else ""
            found[path.stem] = SavedQuery(path.stem, doc, text, origin or str(path))
    return found


def saved_query(name: str) -> SavedQuery:
    """The query called `name`; QueryRefused names the closest ones when there is none."""
    queries = saved_queries()
    if name not in queries:
        close = difflib.get_close_matches(name, queries, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(queries))}."
        raise QueryRefused(f"There is no saved query {name!r}; {hint}")
    return queries[name]
