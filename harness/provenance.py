"""What an attempt ran on: everything that could explain another number, gathered once per process."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

#: Distributions whose version may change a result or its speed.
PACKAGES = ("assay-bench", "numpy", "numba", "pandas", "pyarrow", "pydantic", "ray", "scikit-learn", "scipy", "sqlalchemy", "torch")

#: Written beside this file when code is sent to a cluster, where the checkout it comes from is not at hand.
SOURCE_FILE = "source.json"


@cache
def environment() -> dict[str, Any]:
    """Software, hardware and code of this process as JSON values. Unknown entries are None; nothing here raises."""
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "os": platform.platform(),
        "machine": platform.machine(),
        "hostname": socket.gethostname(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "threads": _threads(),
        "gpu": _gpu(),
        "git": _git(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    except OSError:
        return platform.processor() or None


def _threads() -> dict[str, Any]:
    """Thread settings; torch's only where torch is already loaded, because loading it takes seconds."""
    settings: dict[str, Any] = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    if torch := sys.modules.get("torch"):
        settings["torch"] = torch.get_num_threads()
        settings["blas"] = "mkl" if torch.backends.mkl.is_available() else "openblas"
    return settings


def _gpu() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return {"name": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "count": torch.cuda.device_count()}


def _git() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout this code runs (or was sent) from; None when it is installed without one."""
    folder = Path(__file__).resolve().parent
    try:
        if (sent := folder / SOURCE_FILE).is_file():
            source: dict[str, Any] | None = json.loads(sent.read_text())
            return source
        commit = _run_git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_run_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _run_git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
