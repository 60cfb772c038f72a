"""What makes a trial the same trial: its content key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tasks.identity import canonical_json, content_key

__all__ = ["canonical_json", "content_key", "trial_key", "trial_keys"]


def trial_keys(
    seeds: Iterable[int],
    *,
    task: str,
    task_version: int,
    task_params: Mapping[str, Any],
    method: str,
    method_version: int,
    method_params: Mapping[str, Any],
    data_fingerprint: str,
    protocol: int,
) -> Iterator[str]:
    """The content keys of trials that differ only in their seeds: sha256 of the canonical JSON of everything that makes the result, of
    which all but the seed is written once. Parameters must be resolved (defaults filled in); what can't change the result is not in here.
    """
    before = canonical_json({"data": data_fingerprint, "method": [method, method_version, dict(method_params)], "protocol": protocol})
    after = canonical_json({"task": [task, task_version, dict(task_params)]})
    begun = hashlib.sha256(f'{before[:-1]},"seed":'.encode())
    rest = f",{after[1:]}".encode()
    for seed in seeds:
        hashed = begun.copy()
        hashed.update(b"%d%b" % (seed, rest))
        yield hashed.hexdigest()


def trial_key(*, seed: int, **rest: Any) -> str:
    """The content key of one trial; keywords as for `trial_keys`."""
    return next(trial_keys((seed,), **rest))
