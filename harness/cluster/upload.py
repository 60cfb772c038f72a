"""What travels to a cluster: Assay's code, a suite with its plugins, and what the job is to do with them, as one zip file."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ClusterError, SuiteError
from harness.provenance import SOURCE_FILE, environment
from harness.suite import LoadedSuite
from harness.units import format_bytes

ROOMS = ("harness", "tasks", "kernels", "db", "reports")
SUITE_FILE, SPEC_FILE = "suite.yaml", "job.json"
DISTRIBUTION = "assay-bench"

_EPOCH = (1980, 1, 1, 0, 0, 0)  #: a zip's oldest time: the same content is the same file, and Ray stores it once
_LARGEST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the upload: its content, or the file on this machine that has it."""

    name: str
    content: bytes | Path


def code() -> Iterator[Source]:
    """Assay's five rooms as they lie on this machine (a checkout or an installed wheel), with the version and commit they come from."""
    home = Path(__file__).resolve().parents[2]
    for room in ROOMS:
        yield from _tree(home / room, room)
    number = version()
    yield Source(f"assay_bench-{number}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {number}\n".encode())
    yield Source(f"harness/{SOURCE_FILE}", json.dumps(environment()["git"]).encode())


def suite(loaded: LoadedSuite, tags: Sequence[str] = ()) -> Iterator[Source]:
    """A suite whose `extends` is resolved, with the plugins it names: files, and modules or packages of their own."""
    plugins: list[str] = []
    for number, plugin in enumerate(loaded.plugins):
        if plugin.endswith(".py"):
            path = Path(plugin)
            if not path.is_file():
                raise SuiteError(f"The plugin {plugin} of {loaded.origin} does not exist.")
            plugins.append(f"plugins/{number}/{path.name}")
            yield Source(plugins[-1], path)
        else:
            plugins.append(plugin)
            yield from _module(plugin, loaded.origin)
    sent = loaded.suite.model_copy(update={"plugins": plugins, "tags": [*loaded.suite.tags, *tags]})
    text = yaml.safe_dump(sent.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    yield Source(SUITE_FILE, text.encode())


def spec(content: Mapping[str, Any]) -> Source:
    """What the job is to do, for `harness.cluster.job`."""
    return Source(SPEC_FILE, json.dumps(content).encode())


def pack(sources: Iterable[Source], to: Path, limit: int | None = None) -> int:
    """Write the zip file `to`; returns its size in bytes.

    Raises ClusterError when it is larger than `limit` bytes (None: what Ray takes), naming the largest files.
    """
    with zipfile.ZipFile(to, "w") as archive:
        for source in sorted(sources, key=lambda source: source.name):
            content = source.content if isinstance(source.content, bytes) else source.content.read_bytes()
            info = zipfile.ZipInfo(source.name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
        largest = sorted(archive.infolist(), key=lambda entry: entry.compress_size, reverse=True)[:_LARGEST_SHOWN]
    size, most = to.stat().st_size, limit if limit is not None else upload_limit()
    if size >= most:
        shown = ", ".join(f"{entry.filename} ({format_bytes(entry.compress_size)})" for entry in largest)
        raise ClusterError(
            f"The upload has {format_bytes(size)}, more than the {format_bytes(most)} that Ray takes; its largest files are {shown}. Keep"
            " data out of plugins (a Fixture loads it on the cluster), or install them there and name them as modules."
        )
    return size


def upload_limit() -> int:
    """The largest package Ray takes, in bytes (its setting RAY_max_grpc_message_size)."""
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

    return int(GCS_STORAGE_MAX_SIZE)


def version() -> str:
    """The version of this Assay."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+unknown"


def _tree(folder: Path, name: str) -> Iterator[Source]:
    for place, folders, files in os.walk(folder):
        folders[:] = [item for item in folders if item != "__pycache__" and not item.startswith(".")]
        for file in files:
            if not file.endswith((".pyc", ".pyo")) and file != SOURCE_FILE:
                path = Path(place) / file
                yield Source(f"{name}/{path.relative_to(folder).as_posix()}", path)


def _module(plugin: str, origin: str) -> Iterator[Source]:
    """The module or package that holds the plugin, as a whole; nothing when it is part of Assay."""
    top = plugin.split(".")[0]
    if top in ROOMS:
        return
    try:
        found = util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise SuiteError(f"The plugin {plugin} of {origin} is not installed here.")
    if found.submodule_search_locations:
        for place in found.submodule_search_locations:
            yield from _tree(Path(place), top)
    elif found.origin and found.origin.endswith(".py"):
        yield Source(f"{top}.py", Path(found.origin))
