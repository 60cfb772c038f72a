"""Columns and views as data: the types of the public SQL surface and the columns that several views share.

JSON columns hold canonical JSON text (sorted keys, no spaces), so they can be grouped by. Times are ISO-8601 UTC text in SQLite and
timestamptz in PostgreSQL. Flags are 0 or 1 on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Type = Literal["text", "integer", "real", "time", "json", "flag"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a public view."""

    type: Type
    doc: str


@dataclass(frozen=True, slots=True)
class View:
    """One public view: what a row is, its columns in order, and the SELECT (the same on both databases)."""

    doc: str
    columns: Mapping[str, Column]
    sql: str


TRIAL = Column("text", "Content key of the trial: sha256 over task, method, resolved parameters, seed, data fingerprint and protocol.")
FAMILY = Column("text", "Family of the task, such as quantization.")
TASK = Column("text", "Task id, family/name.")
TASK_VERSION = Column("integer", "Version of the task's code; raised when results change.")
TASK_PARAMS = Column("json", "Resolved parameters of the task.")
METHOD = Column("text", "Method id, family/name.")
METHOD_VERSION = Column("integer", "Version of the method's code; raised when results change.")
METHOD_PARAMS = Column("json", "Resolved parameters of the method.")
SEED = Column("integer", "Seed that all random streams of the trial derive from.")
FINGERPRINT = Column("text", "Digest of the data that the task reads; rows with different fingerprints are not comparable.")
PROTOCOL = Column("integer", "Version of the rules that every evaluation shares; rows with different protocols are not comparable.")
METRIC = Column("text", "Metric id, unique in its task.")
UNIT = Column("text", "Unit of the metric.")
DIRECTION = Column("text", "lower, higher or none: which values are better.")
IS_PRIMARY = Column("flag", "1 for the metric that a leaderboard of the task ranks by.")
VALUE = Column("real", "The number measured; NULL unless it is finite (see kind).")
KIND = Column("text", "finite, nan, +inf or -inf.")
ATTEMPT = Column("text", "Id of the attempt.")
RUN = Column("text", "Id of the run (one invocation of `assay run`).")
ENVIRONMENT = Column("text", "Hash of the environment; joins with environments.environment.")
PAPER = Column("integer", "Number of the paper in shared/papers.")
CLAIM = Column("text", "Id of the claim.")
