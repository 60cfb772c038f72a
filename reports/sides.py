"""One side of a comparison: the measurements of a method, a commit, a machine or a ledger, replicates included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from db.ledger import Ledger
from reports.errors import BadQuestion
from reports.params import differing

By = Literal["method", "commit", "machine", "ledger"]

#: A group: (family, task, task params, method, method params, metric); for two methods the method's part is empty.
Group = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Side:
    """One side's measurements: `values[group][seed]`, the trials behind them, and the session (run) each came from."""

    name: str
    values: Mapping[Group, Mapping[int, float]]
    trials: Mapping[Group, Mapping[int, str]]
    sessions: Mapping[Group, Mapping[int, str]]


_MEASURED = """
SELECT s.family, s.task, s.task_params, s.method, s.method_params, s.seed, s.metric, s.value, s.trial, s.attempt, a.run
FROM scores s JOIN attempts a ON a.attempt = s.attempt LEFT JOIN environments e ON e.environment = a.environment
WHERE s.value IS NOT NULL AND {condition}
UNION ALL
SELECT t.family, t.task, t.task_params, t.method, t.method_params, t.seed, r.metric, r.value, r.trial, r.attempt, a.run
FROM replicates r JOIN trials t ON t.trial = r.trial JOIN attempts a ON a.attempt = r.attempt
LEFT JOIN environments e ON e.environment = a.environment
WHERE r.value IS NOT NULL AND {condition}
"""


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


def load_side(ledger: Ledger, name: str, kind: By) -> Side:
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
    first, _, second = _MEASURED.partition("UNION ALL")
    sql = first.format(condition=condition.replace("{t}", "s")) + "UNION ALL" + second.format(condition=condition.replace("{t}", "t"))
    rows = ledger.query(sql, params).to_pylist()
    if kind == "method":
        rows = _one_configuration(rows, name, wanted)
    values: dict[Group, dict[int, float]] = {}
    trials: dict[Group, dict[int, str]] = {}
    sessions: dict[Group, dict[int, str]] = {}
    for row in rows:
        own = ("", "") if kind == "method" else (row["method"], row["method_params"])
        group = (row["family"], row["task"], row["task_params"], *own, row["metric"])
        values.setdefault(group, {}).setdefault(row["seed"], float(row["value"]))
        trials.setdefault(group, {}).setdefault(row["seed"], row["trial"])
        sessions.setdefault(group, {}).setdefault(row["seed"], row["run"])
    return Side(name, values, trials, sessions)


def _one_configuration(rows: list[dict[str, Any]], name: str, wanted: str) -> list[dict[str, Any]]:
    for part in filter(None, wanted.split(",")):
        key, _, text = part.partition("=")
        rows = [row for row in rows if str(json.loads(row["method_params"]).get(key)) == text]
    configurations = sorted({row["method_params"] for row in rows})
    if len(configurations) > 1:
        texts = "; ".join(differing(configurations, [1] * len(configurations))[:6])
        raise BadQuestion(
            f"{name!r} has {len(configurations)} configurations ({texts}): pick one, for instance {name.partition(':')[0]}:NAME=VALUE."
        )
    return rows
