"""SQL statements with `:name` parameters, parsed once."""

from __future__ import annotations

from functools import lru_cache

import sqlalchemy
from sqlalchemy import TextClause


@lru_cache(maxsize=512)
def text(sql: str) -> TextClause:
    """`sqlalchemy.text`, remembered: parsing a statement costs more than executing it."""
    return sqlalchemy.text(sql)
