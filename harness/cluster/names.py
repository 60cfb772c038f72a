"""Ids of submitted jobs."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

PREFIX = "job-"


def new_job_id(suite: str) -> str:
    """Sortable by time within a suite, and unique: job-quickstart-20261123T153000Z-4f9c21."""
    return f"{PREFIX}{suite}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def is_job(text: str) -> bool:
    """Whether this is a job's id and not a run's (which begins with its year)."""
    return text.startswith(PREFIX)
