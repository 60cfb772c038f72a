"""Which results are meant: conditions on params, methods, tags and time, for boards, claims and comparisons alike."""

from __future__ import annotations

import json
import operator
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa

from db.ledger import Ledger
from reports.errors import BadQuestion, NoSuchParam, NothingToReport
from reports.params import plain
from reports.provenance import literal

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold. `where`: `NAME=VALUE` (or `!=`, `<`, `<=`, `>`, `>=`) on task or method params, `method`, `task` or
    `seed`. `tags`: the trial belongs to the plan of a run with the tag. `since`: it finished on or after this ISO date or time (UTC)."""

    where: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since: str = ""

    def __bool__(self) -> bool:
        return bool(self.where or self.tags or self.since)

    @property
    def text(self) -> str:
        """The conditions in words; empty when there are none."""
        parts = [*self.where, *(f"tag {tag}" for tag in self.tags), *([f"finished since {self.since}"] if self.since else [])]
        return " and ".join(parts)

    def options(self, seeds_only: bool = False) -> str:
        """The conditions as options of a command line; with `seeds_only` those that choose among the seeds of a configuration."""
        where = [one for one in self.where if not seeds_only or parse(one)[0] == "seed"]
        pairs = [*(("--where", one) for one in where), *(("--tag", tag) for tag in self.tags)]
        return shlex.join(part for pair in [*pairs, *([("--since", self.since)] if self.since else [])] for part in pair)

    def sql(self, trial: str = "trial", finished: str = "finished") -> tuple[str, dict[str, Any]]:
        """` AND ...` on a query with these columns, and its parameters; `where` is not part of it (`keep` does that)."""
        text, params = "", dict[str, Any]()
        for at, tag in enumerate(self.tags):
            text += f" AND {trial} IN (SELECT x.trial FROM run_trials x JOIN tags g ON g.run = x.run WHERE g.tag = :tag{at})"
            params[f"tag{at}"] = tag
        if self.since:
            text, params["since"] = f"{text} AND {finished} >= :since", moment(self.since)
        return text, params

    def literal_sql(self) -> str:
        """The conditions that choose among the seeds of a configuration (tags, since, seed), as SQL over `scores` to copy and run."""
        parts = [
            f"trial IN (SELECT x.trial FROM run_trials x JOIN tags g ON g.run = x.run WHERE g.tag = {literal(tag)})" for tag in self.tags
        ]
        if self.since:
            parts.append(f"trial IN (SELECT trial FROM trials WHERE finished >= {literal(moment(self.since))})")
        for name, sign, wanted in map(parse, self.where):
            if name == "seed" and wanted.lstrip("-").isdigit():
                parts.append(f"seed {sign} {wanted}")
        return " AND ".join(parts)

    def check(self, ledger: Ledger) -> None:
        """Raises BadQuestion for a tag that no run has."""
        if not self.tags:
            return
        known = ledger.query("SELECT DISTINCT tag FROM tags ORDER BY tag").column(0).to_pylist()
        for tag in self.tags:
            if tag not in known:
                held = ", ".join(map(str, known)) or "none (assay run --tag NAME gives one)"
                raise BadQuestion(f"No run of this ledger has the tag {tag!r}; tags here: {held}.")


#: No condition at all.
EVERYTHING = Filter()


def moment(text: str) -> str:
    """An ISO date or time (UTC unless it says otherwise) as the ledger writes times."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadQuestion(f"--since {text!r} is not a date like 2026-11-23 or a time like 2026-11-23T15:04 (UTC).") from error
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC).isoformat(timespec="microseconds")


_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def parse(condition: str) -> tuple[str, str, str]:
    """Name, operator and value of a condition."""
    found = re.fullmatch(r"\s*(.+?)\s*(<=|>=|!=|<|>|=)\s*(.*?)\s*", condition, re.DOTALL)
    if found is None:
        raise BadQuestion(
            f"--where {condition!r} is not of the form NAME=VALUE, for instance --where bits=4 or --where method=quantization/rtn."
        )
    name, sign, wanted = found.groups()
    return name, sign, wanted


def each(families: Sequence[str], ask: Callable[[str], T]) -> dict[str, T]:
    """What `ask` gives by family, without those of which nothing passes the filter. Where none is left it raises the reason: that no
    trial fulfils it, or, where no family has the param at all, that."""
    found: dict[str, T] = {}
    refused: list[NothingToReport | NoSuchParam] = []
    for name in families:
        try:
            found[name] = ask(name)
        except (NothingToReport, NoSuchParam) as error:
            refused.append(error)
    if refused and not found:
        raise next((error for error in refused if isinstance(error, NothingToReport)), refused[0])
    return found


def keep(rows: pa.Table, conditions: Sequence[str]) -> pa.Table:
    """The rows (columns task, task_params, method, method_params, seed) that fulfil all conditions; NothingToReport when none does."""
    for condition in conditions:
        name, sign, wanted = parse(condition)
        if name in ("method", "task", "seed"):
            mask = [_holds(sign, value, wanted, str(value).rpartition("/")[2]) for value in rows[name].to_pylist()]
        else:
            mask = _params(rows, condition, name, sign, wanted)
        rows = rows.filter(pa.array(mask, type=pa.bool_()))
    if rows.num_rows == 0:
        raise NothingToReport(f"No trial fulfils {' and '.join(conditions)}.")
    return rows


def _params(rows: pa.Table, condition: str, name: str, sign: str, wanted: str) -> list[bool]:
    has: dict[str, bool | None] = {}
    names: set[str] = set()
    for text in {*rows["method_params"].to_pylist(), *rows["task_params"].to_pylist()}:
        params = json.loads(text)
        names |= params.keys()
        has[text] = _holds(sign, params[name], wanted, plain(params[name])) if name in params else None
    if name not in names:
        raise NoSuchParam(f"--where {condition!r}: no param is called {name!r}; params here: {', '.join(sorted(names)) or 'none'}.")
    pairs = zip(rows["method_params"].to_pylist(), rows["task_params"].to_pylist(), strict=True)
    return [any(has[text] for text in pair if has[text] is not None) for pair in pairs]


def _holds(sign: str, value: Any, wanted: str, also: str) -> bool:
    """Numbers compare as numbers where both are, anything else only as text, for equality; `also` is the value's other spelling."""
    if sign in ("=", "!="):
        return (wanted in (str(value), also)) == (sign == "=")
    try:
        return _ORDER[sign](float(value), float(wanted))
    except (TypeError, ValueError):
        return False
