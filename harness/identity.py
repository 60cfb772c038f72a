"""What makes a trial the same trial: canonical JSON and content keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, shortest float form, non-finite numbers refused (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_key(value: Any) -> str:
    """sha256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


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
