"""What makes a trial the same trial: its content key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.identity import canonical_json, content_key

__all__ = ["canonical_json", "content_key", "trial_key"]


def trial_key(
    *,
    task: str,
    task_version: int,
    task_params: Mapping[str, Any],
    method: str,
    method_version: int,
    method_params: Mapping[str, Any],
    seed: int,
    data_fingerprint: str,
    protocol: int,
) -> str:
    """The content key of a trial. Parameters must be resolved (defaults filled in); what can't change the result is not in here."""
    return content_key(
        {
            "task": [task, task_version, dict(task_params)],
            "method": [method, method_version, dict(method_params)],
            "seed": seed,
            "data": data_fingerprint,
            "protocol": protocol,
        }
    )
