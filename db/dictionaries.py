"""Ids of the dictionary rows (configurations, metrics, environments, runs) that narrow tables point to.

Rows are never deleted, so an id that was committed once may be remembered. Ids made in a transaction that rolls back must be forgotten:
the owner calls `forget` then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from db.records import Environment, Trial
from db.values import canonical_json, clean

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.backends.base import Backend, Row

TASK_CONFIG = ("task", "version", "params", "data_fingerprint", "protocol", "family")
METHOD_CONFIG = ("method", "version", "params")
ENVIRONMENT = (
    "hash", "content", "python", "torch", "ray", "hostname", "os", "cpu", "gpu", "git_commit", "git_dirty", "threads",
)  # fmt: skip


def next_id(backend: Backend, connection: Connection, table: str) -> int:
    """The first free id. Only inside an exclusive transaction, where nobody else inserts."""
    return int(backend.rows(connection, f"SELECT coalesce(max(id), 0) + 1 FROM {table}")[0][0])


def config_keys(trials: Sequence[Trial]) -> Iterator[tuple[Row, Row]]:
    """For each trial the key of its task configuration and that of its method configuration."""
    texts: dict[int, str] = {}  # by identity: a plan shares one mapping among all seeds

    def text(params: Mapping[str, Any]) -> str:
        found = texts.get(id(params))
        if found is None:
            found = texts[id(params)] = canonical_json(params)
        return found

    for t in trials:
        task = (t.task, t.task_version, text(t.task_params), t.data_fingerprint, t.protocol, t.family)
        yield task, (t.method, t.method_version, text(t.method_params))


class Dictionaries:
    """Look-ups with memory; each method inserts what is missing, inside the caller's exclusive transaction."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._ids: dict[str, dict[Any, int]] = {}

    def forget(self) -> None:
        self._ids.clear()

    def task_configs(self, connection: Connection, keys: Iterable[Row]) -> dict[Row, int]:
        return self._rows(connection, "task_config", TASK_CONFIG, keys)

    def method_configs(self, connection: Connection, keys: Iterable[Row]) -> dict[Row, int]:
        return self._rows(connection, "method_config", METHOD_CONFIG, keys)

    def metrics(self, connection: Connection, keys: Iterable[tuple[str, str]], curve: str | None) -> dict[tuple[str, str], int]:
        """Ids of (task, metric). An unknown one becomes an undeclared metric, so that nothing measured is refused."""

        def values(key: tuple[str, str]) -> Row:
            return (*key, "", "none", "", 0, curve, 0)

        columns = ("task", "metric", "unit", "direction", "doc", "is_primary", "curve", "declared")
        return self._rows(connection, "metric", columns, keys, values, match=2)

    def environments(self, connection: Connection, environments: Sequence[Environment]) -> dict[str, int]:
        contents = {environment.hash: environment.content for environment in environments}

        def values(key: Row) -> Row:
            content = contents[key[0]]
            return (key[0], canonical_json(content), *_shown(content))

        found: dict[Row, int] = self._rows(connection, "environment", ENVIRONMENT, [(key,) for key in contents], values, match=1)
        return {key: identity for (key,), identity in found.items()}

    def environment_ids(self, connection: Connection, hashes: Iterable[str]) -> dict[str, int]:
        """Ids of environments that the ledger holds already; the others are left out."""
        return self._known(connection, "environment", "hash", hashes)

    def run_ids(self, connection: Connection, runs: Iterable[str]) -> dict[str, int]:
        """Ids of runs that the ledger holds; the others are left out."""
        return self._known(connection, "run", "run", runs)

    def _known(self, connection: Connection, table: str, column: str, keys: Iterable[str]) -> dict[str, int]:
        memory = self._ids.setdefault(f"{table}.{column}", {})
        wanted = set(keys)
        missing = [key for key in wanted if key not in memory]
        if missing:
            query = f"SELECT {column}, id FROM {table} WHERE {self.backend.member(column, 'keys')}"
            memory.update((key, identity) for key, identity in self.backend.rows(connection, query, {"keys": self.backend.keys(missing)}))
        return {key: memory[key] for key in wanted if key in memory}

    def _rows(
        self,
        connection: Connection,
        table: str,
        columns: Sequence[str],
        keys: Iterable[Any],
        values: Callable[[Any], Row] = lambda key: key,
        match: int | None = None,
    ) -> dict[Any, int]:
        """Ids of the rows whose first `match` columns (all when None) equal each key; a missing row is inserted with `values(key)`."""
        memory = self._ids.setdefault(table, {})
        wanted: set[Any] = set(keys)
        unknown = sorted(key for key in wanted if key not in memory)
        if unknown:
            known = self.backend.lookup(connection, table, columns[:match], unknown)
            memory.update(known)
            new = [key for key in unknown if key not in known]
            if new:
                first = next_id(self.backend, connection, table)
                rows = [(identity, *values(key)) for identity, key in enumerate(new, first)]
                self.backend.insert(connection, table, ("id", *columns), rows)
                memory.update((key, identity) for identity, key in enumerate(new, first))
        return {key: memory[key] for key in wanted}


def _shown(content: Mapping[str, Any]) -> Row:
    """The columns that people look at first, from the content's top level (packages also from its `packages`)."""
    packages = content.get("packages")
    packages = packages if isinstance(packages, Mapping) else {}

    git = content.get("git")
    git = git if isinstance(git, Mapping) else {}
    threads = content.get("threads")
    if isinstance(threads, Mapping):
        threads = threads.get("torch", threads.get("OMP_NUM_THREADS"))
    shown = {
        **{name: content.get(name, packages.get(name)) for name in ENVIRONMENT[2:9]},
        "git_commit": content.get("git_commit", git.get("commit")),
    }
    if isinstance(shown["gpu"], Mapping):
        shown["gpu"] = shown["gpu"].get("name")
    dirty = content.get("git_dirty", git.get("dirty"))
    return (
        *(None if value in (None, "") else clean(str(value)) for value in shown.values()),
        None if dirty is None else int(bool(dirty)),
        int(threads) if isinstance(threads, int) or (isinstance(threads, str) and threads.isdecimal()) else None,
    )
