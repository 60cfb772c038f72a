"""docs/ledger.md shows the public views as the code has them. `python -m tests.db.test_docs` rewrites that part."""

from __future__ import annotations

from pathlib import Path

from db.views import VIEWS

PAGE = Path(__file__).parents[2] / "docs" / "ledger.md"
BAR = "\\|"
MARK = "part is written by `python -m tests.db.test_docs`.\n"


def reference() -> str:
    """A table of columns per view."""
    parts = []
    for name, view in VIEWS.items():
        rows = "".join(f"| {column} | {known.type} | {known.doc.replace('|', BAR)} |\n" for column, known in view.columns.items())
        parts.append(f"\n### {name}\n\n{view.doc}\n\n| column | type | what |\n|---|---|---|\n{rows}")
    return "".join(parts)


def test_the_page_shows_every_view_and_column() -> None:
    assert PAGE.read_text(encoding="utf-8").split(MARK)[1] == reference(), "run `python -m tests.db.test_docs`"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page.split(MARK)[0] + MARK + reference(), encoding="utf-8")
