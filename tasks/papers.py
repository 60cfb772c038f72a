"""The 227 papers whose methods and claims Assay is about."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Paper:
    """One source. `tier` says how much of it a benchmark can check: A (a method of a core family), B (a method of a further family),
    C (a formula or a small simulation), D (nothing computable; `benchmark` says why)."""

    paper: int
    title: str
    family: str
    role: str  #: what it contributes: method, metric, theory, ...
    tier: str
    benchmark: str  #: task, metric and checkable claims, in prose


@cache
def papers() -> tuple[Paper, ...]:
    """All papers by number."""
    text = files("tasks").joinpath("data/papers.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(keepends=True))
    found = (Paper(int(row["paper"]), row["title"], row["family"], row["role"], row["tier"], row["benchmark"]) for row in rows)
    return tuple(sorted(found, key=lambda paper: paper.paper))
