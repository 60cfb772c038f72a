"""Writes constraints.txt: the installed version of everything that Assay and its extras bring in.

`make constraints` runs it after a dependency was added to pyproject.toml and installed. Extras that only some machines install (dev
includes the others) are walked too, so that whoever asks for one gets what was tested.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
HEADER = "# Exact versions of everything Assay and its extras install (Python 3.11, Linux x86-64). Written by `make constraints`.\n"


def closure(package: str, extras: frozenset[str]) -> tuple[dict[str, str], set[str]]:
    """Versions by canonical name of all that `package[extras]` requires here, and the requirements that aren't installed."""
    pinned: dict[str, str] = {}
    missing: set[str] = set()
    todo, seen = [(package, extras)], set()
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        pinned[canonicalize_name(name)] = found.version.split("+")[0]  # a local version such as +cpu names this machine's build
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return pinned, missing


def main() -> int:
    extras = frozenset(distribution("assay-bench").metadata.get_all("Provides-Extra") or ())
    pinned, missing = closure("assay-bench", extras)
    del pinned["assay-bench"]
    file = ROOT / "constraints.txt"
    known = dict(line.split("==") for line in file.read_text().splitlines() if "==" in line)
    kept = {name: known[name] for name in missing & known.keys()}
    if missing:
        print(f"Not installed, so pinned as before or not at all: {', '.join(sorted(missing))}.", file=sys.stderr)
    file.write_text(HEADER + "".join(f"{name}=={version}\n" for name, version in sorted((pinned | kept).items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
