"""The Python standard library's own source as a text corpus: real, on every machine that runs Assay, no download.

Files are ordered by the sha256 of their relative path and every tenth hash goes to validation. The text depends on the interpreter's
version, so its sha256 is part of each trial's identity.
"""

from __future__ import annotations

import hashlib
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

#: Tests, vendored or generated code and data tables: either absent from some distributions or not program text.
EXCLUDED = frozenset(
    {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo", "ensurepip", "pydoc_data", "encodings"}
)
TRAIN_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Corpus:
    """Bytes as uint8 arrays: `train` is the first 4 MiB of the training files, `validation` all of the held-out files."""

    train: np.ndarray
    validation: np.ndarray
    sha256: str


@lru_cache(maxsize=1)
def standard_library() -> Corpus:
    """The corpus of this interpreter, read once per process."""
    root = Path(sysconfig.get_path("stdlib"))
    hashed = []
    for path in root.rglob("*.py"):
        relative = path.relative_to(root)
        if not EXCLUDED.intersection(relative.parts):
            hashed.append((hashlib.sha256(relative.as_posix().encode()).hexdigest(), path))
    train: list[bytes] = []
    validation: list[bytes] = []
    for digest, path in sorted(hashed):
        (validation if int(digest[:8], 16) % 10 == 0 else train).append(path.read_bytes())
    joined = [b"\n".join(part) for part in (train, validation)]
    joined[0] = joined[0][:TRAIN_BYTES]
    digest = hashlib.sha256(hashlib.sha256(joined[0]).digest() + hashlib.sha256(joined[1]).digest()).hexdigest()
    arrays = [np.frombuffer(part, dtype=np.uint8) for part in joined]
    return Corpus(arrays[0], arrays[1], digest)
