"""Outcomes that could not reach the ledger wait here, in fsynced files, and are ingested on the next start.

A file holds one group: a header line with the number of records and the SHA-256 of the rest, then one JSON line per environment and
attempt. It gets its final name only when it is complete and on disk, so a reader never sees half a group.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

from db.errors import LedgerCorrupt, LedgerError, LedgerUnavailable, SchemaMismatch
from db.ledger import Ledger
from db.records import Attempt, Curve, Environment
from db.values import canonical_json, clean, typed, untyped

FORMAT = "assay-spool-1"


class Spool:
    """A folder of groups of attempts. Any number of processes may write to it; the ledger ignores attempts that it has seen."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._rejected: list[tuple[Path, str]] = []

    def files(self) -> list[Path]:
        """Complete groups that wait, oldest first."""
        return sorted(self.folder.glob("*.spool")) if self.folder.is_dir() else []

    def write(self, attempts: Sequence[Attempt], environments: Sequence[Environment] = ()) -> Path:
        """Store one group durably; returns its file. Raises LedgerUnavailable when that fails too (then nothing is stored)."""
        lines = [canonical_json({"environment": item.hash, "content": item.content}) for item in environments]
        lines += [canonical_json(attempt_to_json(attempt)) for attempt in attempts]
        body = "\n".join(lines).encode()
        header = canonical_json({"format": FORMAT, "records": len(lines), "sha256": hashlib.sha256(body).hexdigest()}).encode()
        path = self.folder / f"{time.time_ns():020d}-{os.getpid()}.spool"
        draft = path.with_suffix(".draft")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(draft, "wb") as file:
                file.write(header + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
            _sync_folder(self.folder)
        except OSError as error:
            with suppress(OSError):  # the folder itself may be the trouble
                draft.unlink()
            raise LedgerUnavailable(
                f"Outcomes can't be spooled to {self.folder} ({error}); free space or make the folder writable."
            ) from error
        return path

    def read(self, path: Path) -> tuple[list[Attempt], list[Environment]]:
        """The group in `path`; raises LedgerError when the file is damaged."""
        try:
            head, _, body = path.read_bytes().partition(b"\n")
        except PermissionError as error:
            raise LedgerUnavailable(f"The spool file {path} can't be read ({error.strerror}); run as the user who wrote it.") from error
        try:
            header = json.loads(head)
            whole = header["format"] == FORMAT and header["sha256"] == hashlib.sha256(body).hexdigest()
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise LedgerError(f"The spool file {path} is damaged: its content does not match its own hash.")
        attempts, environments = [], []
        try:
            for line in body.decode().split("\n") if body else []:
                item = json.loads(line)
                if "environment" in item and "content" in item:
                    environments.append(Environment(item["environment"], item["content"]))
                else:
                    attempts.append(attempt_from_json(item))
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"The spool file {path} was written by another version of Assay ({error}).") from error
        return attempts, environments

    def ingest(self, ledger: Ledger) -> int:
        """Record every waiting group in the ledger, oldest first, and delete its file; returns how many attempts were new.

        Raises LedgerUnavailable, LedgerCorrupt and SchemaMismatch as the ledger does; what was not ingested stays. A group that is damaged
        or that the ledger refuses is set aside (see `take_rejected`) and does not stop the others. Another process may ingest the same
        files at the same time.
        """
        new = 0
        for path in self.files():
            try:
                attempts, environments = self.read(path)
                new += ledger.record(attempts, environments)
            except FileNotFoundError:  # another coordinator was faster
                continue
            except (LedgerUnavailable, LedgerCorrupt, SchemaMismatch):  # not the group's fault
                raise
            except LedgerError as error:
                aside = path.with_suffix(".rejected")
                with suppress(FileNotFoundError):
                    os.replace(path, aside)
                    self._rejected.append((aside, str(error)))
            else:
                path.unlink(missing_ok=True)
        return new

    def take_rejected(self) -> list[tuple[Path, str]]:
        """The files that `ingest` has set aside (suffix .rejected) since the last call, each with the reason."""
        taken, self._rejected = self._rejected, []
        return taken


def attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    """A JSON object that `attempt_from_json` turns back into an equal attempt; numbers keep every bit, non-finite ones included."""
    plain = {field.name: getattr(attempt, field.name) for field in fields(Attempt)}
    for name in ("error", "traceback", "stdout", "stderr", "worker"):
        plain[name] = clean(plain[name])
    plain["started"], plain["finished"] = attempt.started.isoformat(), attempt.finished.isoformat()
    plain["metrics"] = {name: typed(value) for name, value in attempt.metrics.items()}
    plain["curves"] = [
        {"metric": curve.metric, "steps": [float(step) for step in curve.steps], "values": [typed(value) for value in curve.values]}
        for curve in attempt.curves
    ]
    return plain


def attempt_from_json(plain: dict[str, Any]) -> Attempt:
    """The inverse of `attempt_to_json`."""
    values = dict(plain)
    values["started"], values["finished"] = datetime.fromisoformat(plain["started"]), datetime.fromisoformat(plain["finished"])
    values["metrics"] = {name: untyped(*pair) for name, pair in plain["metrics"].items()}
    values["curves"] = tuple(Curve(item["metric"], item["steps"], list(_numbers(item["values"]))) for item in plain["curves"])
    return Attempt(**values)


def _numbers(pairs: Sequence[tuple[float | None, str]]) -> Iterator[float]:
    return (untyped(value, kind) for value, kind in pairs)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
