"""One side of a comparison: the measurements of a method, a commit, a machine or a ledger, replicates included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from db.ledger import Ledger
from reports.errors import BadQuestion, NothingToReport, ReportError
from reports.params import differing, fulfils
from reports.questions import EVERYTHING, Filter, keep

By = Literal["method", "commit", "machine", "ledger"]

#: A group: (family, task, task params, method, method params, metric); for two methods the method's part is empty.
Group = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Side:
    """One side's measurements: `values[group][seed]`, the trials behind them, and the session (run) each came from.

    `failed`: seeds on which a configuration (a group's first five parts) has failed attempts and no result; `odd`: seeds on which a
    metric is not finite.
    """

    name: str
    values: Mapping[Group, Mapping[int, float]]
    trials: Mapping[Group, Mapping[int, str]]
    sessions: Mapping[Group, Mapping[int, str]]
    failed: Mapping[tuple[str, ...], Mapping[int, str]] = field(default_factory=dict)
    odd: Mapping[Group, Mapping[int, str]] = field(default_factory=dict)


_NAMES = ("family", "task", "task_version", "task_params", "method", "method_version", "method_params", "seed", "trial")
_CONFIGURATION = ", ".join(f"{{t}}.{name}" for name in _NAMES)

#: Accepted results first, then what repeated them; {s} and {t} stand for the filter of either half.
_MEASURED = (
    f"SELECT {_CONFIGURATION.format(t='s')}, s.metric, s.value, s.kind, a.run, 0 AS again "
    "FROM scores s JOIN attempts a ON a.attempt = s.attempt LEFT JOIN environments e ON e.environment = a.environment WHERE {s} "
    f"UNION ALL SELECT {_CONFIGURATION.format(t='t')}, r.metric, r.value, r.kind, a.run, 1 AS again "
    "FROM replicates r JOIN trials t ON t.trial = r.trial JOIN attempts a ON a.attempt = r.attempt "
    "LEFT JOIN environments e ON e.environment = a.environment WHERE {t}"
)

_FAILED = (
    f"SELECT {_CONFIGURATION.format(t='t')}, a.outcome FROM attempts a JOIN trials t ON t.trial = a.trial "
    "LEFT JOIN environments e ON e.environment = a.environment WHERE a.outcome NOT IN ('ok', 'cancelled') AND {t}"
)


def kind_of(ledger: Ledger, a: str, b: str) -> By:
    for kind, test in (("ledger", _is_ledger), ("method", _is_method), ("commit", _is_commit), ("machine", _is_machine)):
        if test(ledger, a) and test(ledger, b):
            return kind  # type: ignore[return-value]
    raise BadQuestion(
        f"{a!r} and {b!r} are not both ledgers, methods, commits or machines that this ledger knows; --by says what they are."
    )


def _is_ledger(ledger: Ledger, name: str) -> bool:
    return "://" in name or Path(name).is_file()


def _is_method(ledger: Ledger, name: str) -> bool:
    return bool(_methods(ledger, name.partition(":")[0]))


def _methods(ledger: Ledger, name: str) -> list[str]:
    known = [str(method) for method in ledger.query("SELECT DISTINCT method FROM trials").column(0).to_pylist()]
    return [method for method in known if name in (method, method.rpartition("/")[2])]


def _is_commit(ledger: Ledger, name: str) -> bool:
    sql = "SELECT 1 FROM environments WHERE git_commit >= :a AND git_commit < :b LIMIT 1"
    return len(name) >= 4 and ledger.query(sql, {"a": name, "b": name + "g"}).num_rows == 1


def _is_machine(ledger: Ledger, name: str) -> bool:
    return bool(ledger.query("SELECT 1 FROM environments WHERE hostname = :name LIMIT 1", {"name": name}).num_rows)


def load_side(ledger: Ledger, name: str, kind: By, only: Filter = EVERYTHING) -> Side:
    """Everything measured on one side that passes the filter, each configuration at its newest version there.

    Raises BadQuestion for a method that is not one configuration, NothingToReport where nothing passes the filter.
    """
    only.check(ledger)
    method, _, wanted = name.partition(":")
    params: dict[str, Any] = {}
    if kind == "method":
        found = _methods(ledger, method)
        if len(found) != 1:
            raise BadQuestion(
                f"{method!r} names {len(found)} methods of this ledger ({', '.join(found) or 'none'}); give the id FAMILY/NAME."
            )
        condition, params = "{t}.method = :m", {"m": found[0]}
    elif kind == "commit":
        condition, params = "e.git_commit >= :a AND e.git_commit < :b", {"a": name, "b": name + "g"}
    elif kind == "machine":
        condition, params = "e.hostname = :h", {"h": name}
    else:
        condition = "1 = 1"
    parts = {}
    for at in ("s", "t"):
        extra, values = only.sql(f"{at}.trial", "a.finished")
        parts[at], params = condition.replace("{t}", at) + extra, {**params, **values}
    measured = _kept(ledger.query(_MEASURED.format(**parts), params), name, only)
    lost = _kept(ledger.query(_FAILED.format(**parts), params), "", only)
    if kind == "method":
        measured = _one_configuration(measured, name, wanted)
        lost = [row for row in lost if row["method_params"] in {one["method_params"] for one in measured}]
    values_of: dict[Group, dict[int, float]] = {}
    trials: dict[Group, dict[int, str]] = {}
    sessions: dict[Group, dict[int, str]] = {}
    odd: dict[Group, dict[int, str]] = {}
    done: set[tuple[tuple[str, ...], int]] = set()
    for row in sorted(measured, key=lambda row: (-row["task_version"], -row["method_version"], row["again"])):
        configuration = _configuration(row, kind)
        group = (*configuration, row["metric"])
        done.add((configuration, row["seed"]))
        if row["value"] is None:
            odd.setdefault(group, {}).setdefault(row["seed"], row["kind"])
            continue
        values_of.setdefault(group, {}).setdefault(row["seed"], float(row["value"]))
        trials.setdefault(group, {}).setdefault(row["seed"], row["trial"])
        sessions.setdefault(group, {}).setdefault(row["seed"], row["run"])
    failed: dict[tuple[str, ...], dict[int, str]] = {}
    for row in lost:
        configuration = _configuration(row, kind)
        if (configuration, row["seed"]) not in done:
            failed.setdefault(configuration, {})[row["seed"]] = row["outcome"]
    return Side(name, values_of, trials, sessions, failed, odd)


def _configuration(row: Mapping[str, Any], kind: By) -> tuple[str, str, str, str, str]:
    own = ("", "") if kind == "method" else (row["method"], row["method_params"])
    return (row["family"], row["task"], row["task_params"], *own)


def _kept(rows: pa.Table, name: str, only: Filter) -> list[dict[str, Any]]:
    """The rows that fulfil the filter's conditions; NothingToReport when there are none of the side called `name` (if it has a name)."""
    if rows.num_rows:
        try:
            rows = keep(rows, only.where)
        except ReportError as error:
            if name:
                raise NothingToReport(f"{name}: {error}") from error
            return []
    if not rows.num_rows and name and only:
        raise NothingToReport(f"Nothing of {name} fulfils {only.text}.")
    return rows.to_pylist()  # type: ignore[no-any-return]


def _one_configuration(rows: list[dict[str, Any]], name: str, wanted: str) -> list[dict[str, Any]]:
    held = sorted({row["method_params"] for row in rows})
    rows = [row for row in rows if fulfils(row["method_params"], wanted)]
    configurations = sorted({row["method_params"] for row in rows})
    if held and not configurations:
        raise BadQuestion(f"{name!r} is no configuration with results here; there are {'; '.join(differing(held, [1] * len(held))[:8])}.")
    if len(configurations) > 1:
        texts = "; ".join(differing(configurations, [1] * len(configurations))[:6])
        raise BadQuestion(
            f"{name!r} has {len(configurations)} configurations ({texts}): pick one, for instance {name.partition(':')[0]}:NAME=VALUE."
        )
    return rows
