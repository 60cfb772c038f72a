"""`kernel`: numba's njit with a cache that is safe to keep.

Numba invalidates cached machine code only when the file that defines the function changes, not when a helper in another file does: a stale
kernel would go on producing yesterday's numbers. The cache folder is therefore named after the contents of all kernels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder() -> Path:
    """Where compiled kernels are kept: below NUMBA_CACHE_DIR if set, else below the Assay cache (ASSAY_CACHE, XDG_CACHE_HOME, ~/.cache)."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        base = Path(os.environ["NUMBA_CACHE_DIR"])
    elif os.environ.get("ASSAY_CACHE"):
        base = Path(os.environ["ASSAY_CACHE"]) / "numba"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay" / "numba"
    return base / _fingerprint()


def _fingerprint() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


_FOLDER = str(cache_folder())


def kernel(function: F) -> F:
    """Compile `function` on its first call; later processes load the machine code. Division by zero gives inf/nan as in numpy.

    No fastmath: sums keep their order, so results do not depend on the machine's vector width. Where no folder is writable the function
    is compiled in each process.
    """
    options = {"nogil": True, "error_model": "numpy"}
    previous = config.CACHE_DIR
    config.CACHE_DIR = _FOLDER
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return numba.njit(**options)(function)
    finally:
        config.CACHE_DIR = previous
