"""The fixture store: expensive shared inputs, content-addressed, made once, verified by hash whenever they are read.

Layout: `<cache>/fixtures/<name>-<key>/` holds the fixture's files and `manifest.json` (sha256 per file). A fixture is built in a
temporary folder beside it under an exclusive file lock and renamed into place, so a killed builder leaves nothing half-made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import FixtureError
from tasks.api import Context, Fixture

MANIFEST = "manifest.json"


def default_cache() -> Path:
    """$ASSAY_CACHE, or the user's cache directory."""
    if path := os.environ.get("ASSAY_CACHE"):
        return Path(path)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay"


class FixtureStore:
    """Fixtures under one cache directory. Safe for any number of threads and processes of one machine."""

    def __init__(self, cache: Path | str) -> None:
        self.root = Path(cache) / "fixtures"
        self._loaded: dict[str, Any] = {}

    def folder(self, fixture: Fixture) -> Path:
        return self.root / f"{fixture.name.replace('/', '-')}-{fixture.key()[:20]}"

    def require_writable(self) -> None:
        """Raise FixtureError unless fixtures can be stored: before trials are started that would all fail for it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise FixtureError(
                f"Fixtures can't be stored under {self.root} ({error.strerror}); set ASSAY_CACHE to a writable folder."
            ) from None

    def present(self, fixture: Fixture) -> bool:
        """Whether it has been built (its files are not checked)."""
        return (self.folder(fixture) / MANIFEST).is_file()

    def damage(self, fixture: Fixture) -> str | None:
        """One sentence naming the first file that differs from the manifest; None when all is well or nothing was built."""
        folder = self.folder(fixture)
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            for name, digest in manifest["files"].items():
                if _digest(folder / name) != digest:
                    return f"Fixture {fixture.name} is damaged: {folder / name} is not what was built."
        except (FileNotFoundError, NotADirectoryError) as error:
            return None if not folder.exists() else f"Fixture {fixture.name} is damaged: {error.filename} is missing."
        except (OSError, ValueError, KeyError, AttributeError) as error:
            return f"Fixture {fixture.name} is damaged: {folder / MANIFEST} can't be read ({error})."
        return None

    def repair(self, fixture: Fixture) -> str | None:
        """Move a damaged fixture aside, so that the next reader builds it again; returns the sentence to show, None if all is well."""
        if not self.damage(fixture):
            return None
        with self._lock(fixture):
            complaint = self.damage(fixture)  # another process may have repaired it while we waited for the lock
            if complaint is None:
                return None
            folder = self.folder(fixture)
            target = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
            folder.rename(target)
        return f"{complaint} It was moved to {target} and is built again."

    def build(self, fixture: Fixture, context: Context) -> Path:
        """The folder of the fixture, built unless it is there. Raises FixtureError when it can't be built or stored."""
        folder = self.folder(fixture)
        if self.present(fixture):
            return folder
        try:
            with self._lock(fixture):
                if not self.present(fixture):  # another process may have built it while we waited for the lock
                    self._build_locked(fixture, folder, context)
        except OSError as error:
            raise FixtureError(f"Fixture {fixture.name} can't be stored under {self.root}: {error.strerror or error}.") from error
        return folder

    def get(self, fixture: Fixture, context: Context) -> Any:
        """The loaded fixture, shared by this process's trials: built first if need be, rebuilt (with a line on stderr) if damaged."""
        key = fixture.key()
        if key not in self._loaded:
            if complaint := self.repair(fixture):
                print(complaint, file=sys.stderr)
            self._loaded[key] = fixture.load(self.build(fixture, context))
        return self._loaded[key]

    def _build_locked(self, fixture: Fixture, folder: Path, context: Context) -> None:
        for stale in self.root.glob(f".{folder.name}.build-*"):  # of a builder that was killed; we hold its lock now
            shutil.rmtree(stale, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.build-", dir=self.root))
        try:
            fixture.build(work, context)
            files = {str(path.relative_to(work)): _digest(path) for path in sorted(work.rglob("*")) if path.is_file()}
            if not files:
                raise FixtureError(f"Fixture {fixture.name} wrote no file.")
            manifest = {"fixture": fixture.name, "version": fixture.version, "params": fixture.params(), "files": files}
            (work / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
            if folder.exists():  # a folder without a manifest is not ours to read
                folder.rename(folder.with_name(f"{folder.name}.damaged-{time.time_ns()}"))
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @contextmanager
    def _lock(self, fixture: Fixture) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / f".{self.folder(fixture).name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel drops it when the holder dies
            yield


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
