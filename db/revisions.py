"""Schema revisions: what this code needs and what a ledger has. Knows no Alembic, so that reading starts fast."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from db.errors import LedgerCorrupt, SchemaMismatch

#: The revision this code works with. A change of tables or views needs a new one (tests/assets/ledger keeps a frozen ledger of each).
HEAD = "0004"
FOLDER = Path(__file__).parent / "migrations"


def check(revision: str | None, url: str) -> None:
    """Raises SchemaMismatch (with the command that helps) or LedgerCorrupt unless `revision` is the one this code works with."""
    if revision == HEAD:
        return
    if revision is None:
        raise LedgerCorrupt(
            f"{url} is a database but holds no ledger; name another with --db, or let `assay run` create one at a new path."
        )
    if revision in revisions():
        raise SchemaMismatch(
            f"The ledger {url} has schema {revision}, older than this code's {HEAD}; run `assay db upgrade --db {quote(url)}` "
            "(it backs SQLite up first)."
        )
    raise SchemaMismatch(
        f"The ledger {url} has schema {revision}, newer than this code's {HEAD}; install the Assay that wrote it: "
        "`pip install --upgrade assay-bench`."
    )


def revisions() -> list[str]:
    """Every revision this code knows, oldest first (by the names of the files: no import of Alembic)."""
    return sorted(match[1] for path in (FOLDER / "versions").glob("r*.py") if (match := re.match(r"r(\d{4})_", path.name)))
