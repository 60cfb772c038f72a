"""Brings the ledger of a job home as a bundle: exported there, carried in pieces through the logs of short jobs, checked here."""

from __future__ import annotations

import base64
import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.cluster.client import Cluster
from harness.cluster.remote import call
from harness.errors import ClusterError

#: A piece becomes a line of a log that the dashboard reads into memory; each call takes some two seconds.
PIECE_BYTES = 16 << 20


@contextmanager
def fetched(
    cluster: Cluster, db: str, package: Path | None, progress: Callable[[int, int], None] = lambda done, size: None
) -> Iterator[Path]:
    """The cluster's SQLite ledger `db` as a bundle on this machine, until the end of the block. `progress` gets bytes fetched and in all.

    Raises ClusterError when there is no such ledger or when what arrives is not what was sent.
    """
    parcel = call(cluster, "pack", {"db": db}, package)
    with tempfile.TemporaryDirectory(prefix="assay-pull-") as scratch:
        path = Path(scratch) / "parcel.tar"
        digest, done, name, read = hashlib.sha256(), 0, str(parcel["parcel"]), ""
        with path.open("wb") as file:
            while done < parcel["size"]:
                arguments = {"parcel": name, "start": done, "size": PIECE_BYTES, "read": read}
                reply = call(cluster, "piece", arguments, package)
                data, read = base64.b64decode(reply["data"]), str(reply["call"])
                if not data:
                    raise ClusterError(f"The export of {db} ends after {done:,} of {parcel['size']:,} bytes; pull again.")
                file.write(data)
                digest.update(data)
                done += len(data)
                progress(done, parcel["size"])
        call(cluster, "drop", {"parcel": name, "read": read}, package)
        if digest.hexdigest() != parcel["sha256"]:
            raise ClusterError(f"The export of {db} arrived damaged (its sha256 differs); pull again.")
        with tarfile.open(path) as archive:
            archive.extractall(scratch, filter="data")
        yield Path(scratch) / "bundle"
