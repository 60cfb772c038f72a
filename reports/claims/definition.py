"""A claim as the ledger stores it (the JSON of `tasks.api.Claim`), read back as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.errors import ReportError

KINDS = ("better", "equivalent", "ratio", "ordering", "slope", "front", "prediction", "line", "bound")


@dataclass(frozen=True, slots=True)
class Arm:
    """A method and the parameters that must match."""

    method: str
    params: Mapping[str, Any]

    @property
    def text(self) -> str:
        values = " ".join(
            f"{name}={json.dumps(value) if not isinstance(value, str) else value}" for name, value in sorted(self.params.items())
        )
        return f"{self.method} {values}".strip()


@dataclass(frozen=True, slots=True)
class Definition:
    """See `tasks.api.Claim` for what the fields mean.

    Two `options` belong to every kind: `not_testable` (why nothing here could decide the claim) and `setting` (how the paper's own
    protocol differs from ours: evidence against the claim is then "not reproduced here" rather than "refuted").
    """

    id: str
    paper: int
    family: str
    statement: str
    kind: str
    task: str
    metric: str
    arms: tuple[Arm, ...]  #: A, then B where there is one; for `ordering` and `line` all arms, best first for the former
    task_params: Mapping[str, Any]
    effect: str
    margin: float
    min_seeds: int
    control: bool
    note: str
    options: Mapping[str, Any]
    hash: str

    @property
    def not_testable(self) -> str:
        return str(self.options.get("not_testable") or "")

    @property
    def setting(self) -> str:
        return str(self.options.get("setting") or "")

    @property
    def protocol(self) -> str:
        """Task and params that the claim speaks about, in words."""
        params = "".join(f" {name}={value}" for name, value in sorted(self.task_params.items()))
        return f"{self.task}{params}"

    @property
    def a(self) -> Arm:
        return self.arms[0]

    @property
    def b(self) -> Arm:
        if len(self.arms) < 2:
            raise ReportError(f"Claim {self.id} is of kind {self.kind!r} and needs a second arm B; add it to the claim's declaration.")
        return self.arms[1]


def parse(row: Mapping[str, Any]) -> Definition:
    """The definition in a row of the `claims` view; raises ReportError naming the claim when it can't be understood."""
    try:
        data = json.loads(row["definition"])
        found = [data["a"], *([data["b"]] if data.get("b") else [])]
        options = dict(data.get("options") or {})
        listed = options.get("arms") or found
        kind = data["kind"]
        if kind not in KINDS:
            raise ReportError(f"Claim {row['claim']} is of unknown kind {kind!r}; this version decides {', '.join(KINDS)}.")
        return Definition(
            row["claim"],
            int(row["paper"]),
            row["family"],
            row["statement"],
            kind,
            data["task"],
            data["metric"],
            tuple(Arm(arm["method"], dict(arm.get("params") or {})) for arm in listed),
            dict(data.get("task_params") or {}),
            data.get("effect", "difference"),
            float(data.get("margin", 0.0)),
            int(data.get("min_seeds", 5)),
            bool(data.get("control", False)),
            data.get("note", ""),
            options,
            row["hash"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"The definition of claim {row['claim']} in the ledger is incomplete ({error!r}); declare it again with a newer run."
        ) from error
