"""Runs on the head node, before anything is uploaded: says which Python and which packages are there. Only the standard library.

Its text is sent as a command line (`python -c`), so it must not depend on where it lies.
"""

import json
import platform
import sys
from importlib import metadata


def _version(name: str) -> "str | None":
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    found = {name: _version(name) for name in sys.argv[1:]}
    print("ASSAY-REPLY " + json.dumps({"python": platform.python_version(), "executable": sys.executable, "packages": found}), flush=True)
