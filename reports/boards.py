"""Results of a family as boards: one board per (task, version, params), a matrix (entries, seeds) per metric, paired by seed.

Reads only the ledger's public views; nothing here computes a statistic or formats a number.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from db.ledger import Ledger
from reports.errors import BadQuestion, NothingToReport
from reports.params import differing, natural
from reports.provenance import Coordinates
from reports.questions import EVERYTHING, Filter, keep
from reports.stats.distributions import Floats
from reports.stats.intervals import FREE, Bounds

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as its task declared it. `curve` names the x axis of a series; None for a scalar. `bounds`: values it can't leave."""

    id: str
    unit: str
    direction: str
    doc: str
    primary: bool
    curve: str | None
    bounds: Bounds = FREE

    @property
    def arrow(self) -> str:
        return {"lower": "↓", "higher": "↑"}.get(self.direction, "")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a board: a method at one version with one set of resolved params.

    `short` holds only the params in which entries of the same method on this board differ, as `name=value`.
    """

    method: str
    version: int
    params: str
    label: str
    short: str
    paper: int | None
    knowledge: tuple[str, ...]  #: what the method is told beyond its inputs, or its constants were computed from
    settings: tuple[str, ...] = ()  #: names of this choice of params on this task: theory, tuned

    @property
    def name(self) -> str:
        return f"{self.label} {self.short}".strip()


@dataclass(slots=True)
class Board:
    """Everything measured on one (task, version, params). Matrices have shape (entries, seeds); NaN and "" mean missing."""

    family: str
    task: str
    task_version: int
    task_params: str
    label: str
    short: str
    doc: str
    metrics: dict[str, Metric]
    entries: list[Entry]
    seeds: list[int]
    trials: npt.NDArray[np.object_]
    states: npt.NDArray[np.object_]
    values: dict[str, Floats]
    nonfinite: dict[str, npt.NDArray[np.bool_]]
    notes: list[str] = field(default_factory=list)
    series: dict[str, Metric] = field(default_factory=dict)  #: the metrics that are curves
    only: Filter = EVERYTHING  #: what chose the results
    seconds: Floats = field(default_factory=lambda: np.empty((0, 0)))  #: wall time of each trial

    @property
    def primary(self) -> Metric:
        return next((metric for metric in self.metrics.values() if metric.primary), next(iter(self.metrics.values())))

    @property
    def name(self) -> str:
        return f"{self.label} ({self.short})" if self.short else self.label

    @property
    def anchor(self) -> str:
        return self.coordinates().short_id()

    def coordinates(self, entry: int | None = None, metric: str = "") -> Coordinates:
        """Where a number of this board lives in the ledger."""
        if entry is None:
            return Coordinates(self.family, self.task, self.task_version, self.task_params)
        chosen = self.entries[entry]
        return Coordinates(
            self.family, self.task, self.task_version, self.task_params, chosen.method, chosen.version, chosen.params, metric
        )

    def where(self) -> str:
        """SQL conditions on `scores` that select the results of this board."""
        return " AND ".join(filter(None, (self.coordinates().task_where(), self.only.literal_sql())))

    def trial_keys(self, entry: int) -> tuple[str, ...]:
        return tuple(key for key in self.trials[entry] if key)


@dataclass(frozen=True, slots=True)
class Question:
    """What to load: a family or one task of it, narrowed by a filter."""

    family: str
    task: str = ""
    only: Filter = EVERYTHING
    old_versions: bool = False


def families(ledger: Ledger) -> list[str]:
    """Families with at least one trial."""
    return [str(name) for name in ledger.query("SELECT DISTINCT family FROM trials ORDER BY family").column(0).to_pylist()]


def load_boards(ledger: Ledger, question: Question) -> list[Board]:
    """Boards of a family, in order of task label; raises NothingToReport or BadQuestion naming what the ledger holds."""
    params: dict[str, Any] = {"family": question.family}
    condition = "family = :family"
    if question.task:
        condition, params["task"] = condition + " AND task = :task", _task_id(question)
    question.only.check(ledger)
    extra, values = question.only.sql()
    trials = ledger.query(
        "SELECT trial, task, task_version, task_params, method, method_version, method_params, seed, state, seconds FROM trials "
        f"WHERE {condition}{extra} ORDER BY task, trial",
        {**params, **values},
    )
    if trials.num_rows == 0:
        raise _nothing(ledger, question)
    catalogue = Catalogue.read(ledger, question.family)
    trials, hidden = _newest_versions(trials, question)
    trials = keep(trials, question.only.where)
    scores = ledger.query(f"SELECT trial, metric, value, kind FROM scores WHERE {condition}", params)
    boards = _assemble(question.family, trials, scores, catalogue)
    for board in boards:
        board.only = question.only
        if question.only:
            board.notes.append(f"Only results with {question.only.text}.")
        if hidden.get(board.task):
            board.notes.append(
                f"{hidden[board.task]} trials of older versions of the task or a method are not shown (--old-versions shows them)."
            )
    return boards


def _task_id(question: Question) -> str:
    return question.task if "/" in question.task else f"{question.family}/{question.task}"


def _nothing(ledger: Ledger, question: Question) -> Exception:
    known = families(ledger)
    if question.only and question.family in known:
        return NothingToReport(f"No trial of {question.task or question.family} fulfils {question.only.text}.")
    if question.family not in known:
        held = ", ".join(known) if known else "nothing yet (assay run SUITE fills it)"
        return BadQuestion(f"The ledger holds no results of a family {question.family!r}; it holds {held}.")
    tasks = ledger.query("SELECT DISTINCT task FROM trials WHERE family = :family ORDER BY task", {"family": question.family})
    return NothingToReport(
        f"The ledger holds no trials of task {_task_id(question)!r}; tasks of the family: {', '.join(tasks.column(0).to_pylist())}."
    )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Labels and declarations of a family, from the catalogue views; missing rows fall back to ids."""

    tasks: Mapping[str, tuple[str, str]]
    methods: Mapping[str, tuple[str, int | None, tuple[str, ...]]]
    metrics: Mapping[str, Mapping[str, Metric]]
    settings: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, ledger: Ledger, family: str) -> Catalogue:
        params = {"family": family}
        tasks = ledger.query("SELECT task, label, doc FROM tasks WHERE family = :family", params).to_pylist()
        methods = ledger.query(
            "SELECT method, label, paper, knowledge, params_schema FROM methods WHERE family = :family", params
        ).to_pylist()
        rows = ledger.query(
            "SELECT m.task, m.metric, m.unit, m.direction, m.doc, m.is_primary, m.curve, m.low, m.high "
            "FROM metrics m JOIN tasks t ON t.task = m.task WHERE t.family = :family",
            params,
        ).to_pylist()
        metrics: dict[str, dict[str, Metric]] = defaultdict(dict)
        for row in sorted(rows, key=lambda row: (not row["is_primary"], row["metric"])):
            metric = Metric(
                row["metric"],
                "" if row["unit"] == "1" else row["unit"],
                row["direction"],
                row["doc"],
                bool(row["is_primary"]),
                row["curve"],
                (-math.inf if row["low"] is None else row["low"], math.inf if row["high"] is None else row["high"]),
            )
            metrics[row["task"]][metric.id] = metric
        return cls(
            {row["task"]: (row["label"] or row["task"], row["doc"]) for row in tasks},
            {row["method"]: (row["label"] or row["method"], row["paper"], told(row["knowledge"])) for row in methods},
            metrics,
            {row["method"]: json.loads(row["params_schema"] or "{}").get("x-settings", ()) for row in methods},
        )


def told(knowledge: str | None) -> tuple[str, ...]:
    """What a method is told beyond its inputs, from the catalogue's JSON list; any other text is one name."""
    try:
        found = json.loads(knowledge or "[]")
    except ValueError:
        return (str(knowledge),)
    return tuple(str(name) for name in found) if isinstance(found, list) else (str(found),)


def _newest_versions(trials: pa.Table, question: Question) -> tuple[pa.Table, dict[str, int]]:
    """Trials of the newest version of each task and method, and how many others each task has."""
    if question.old_versions:
        return trials, {}
    keep = np.ones(trials.num_rows, dtype=bool)
    for name, version in (("task", "task_version"), ("method", "method_version")):
        code = np.asarray(pc.dictionary_encode(trials[name]).combine_chunks().indices)
        number = trials[version].to_numpy()
        newest = np.zeros(code.max() + 1, dtype=number.dtype)
        np.maximum.at(newest, code, number)
        keep &= number == newest[code]
    hidden: dict[str, int] = defaultdict(int)
    for task in trials.filter(pa.array(~keep))["task"].to_pylist():
        hidden[task] += 1
    return trials.filter(pa.array(keep)), hidden


def _codes(table: pa.Table, names: Sequence[str]) -> tuple[Ints, Ints]:
    """A code per row for each distinct combination of the columns (numbered by first appearance), and the first row of each code."""
    code = np.zeros(table.num_rows, dtype=np.int64)
    for name in names:
        encoded = pc.dictionary_encode(table[name]).combine_chunks()
        code = code * len(encoded.dictionary) + np.asarray(encoded.indices)
        _, code = np.unique(code, return_inverse=True)
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return inverse.astype(np.int64), first.astype(np.int64)


def _assemble(family: str, trials: pa.Table, scores: pa.Table, catalogue: Catalogue) -> list[Board]:
    board_of, board_first = _codes(trials, ["task", "task_version", "task_params"])
    entry_of, entry_first = _codes(trials, ["method", "method_version", "method_params"])
    seed = trials["seed"].to_numpy()
    row = pc.index_in(scores["trial"], value_set=trials["trial"].combine_chunks()).to_numpy(zero_copy_only=False)
    known = ~np.isnan(row.astype(np.float64))
    row = row[known].astype(np.int64)
    metric_names = pc.dictionary_encode(scores["metric"]).combine_chunks()
    metric_code = np.asarray(metric_names.indices)[known] if len(scores) else np.zeros(0, dtype=np.int64)
    value = scores["value"].cast(pa.float64()).to_numpy(zero_copy_only=False)[known].astype(np.float64)
    finite = pc.equal(scores["kind"], "finite").to_numpy(zero_copy_only=False)[known].astype(bool)
    keys = trials["trial"].to_numpy(zero_copy_only=False)
    states = trials["state"].to_numpy(zero_copy_only=False)
    seconds = trials["seconds"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    heads = trials.take(pa.array(board_first)).select(["task", "task_version", "task_params"]).to_pylist()
    entry_heads = trials.take(pa.array(entry_first)).select(["method", "method_version", "method_params"]).to_pylist()
    place = np.empty(len(entry_heads), dtype=np.int64)  # entries in the order of method and params, not of the hashes in trial keys
    by_name = sorted(range(len(entry_heads)), key=lambda at: _entry_key(entry_heads[at]))
    place[by_name] = np.arange(len(entry_heads))
    entry_of, entry_heads = place[entry_of], [entry_heads[at] for at in by_name]
    names = metric_names.dictionary.to_pylist() if len(scores) else []
    order = np.argsort(board_of, kind="stable")
    bounds = np.searchsorted(board_of[order], np.arange(len(heads) + 1))
    score_order = np.argsort(board_of[row], kind="stable")
    score_bounds = np.searchsorted(board_of[row][score_order], np.arange(len(heads) + 1))
    position = np.full((trials.num_rows, 2), -1, dtype=np.int64)
    boards = []
    for number, head in enumerate(heads):
        mine = order[bounds[number] : bounds[number + 1]]
        entries, at_entry = np.unique(entry_of[mine], return_inverse=True)
        seeds, at_seed = np.unique(seed[mine], return_inverse=True)
        shape = (len(entries), len(seeds))
        board_keys, board_states = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
        board_seconds = np.full(shape, np.nan)
        board_seconds[at_entry, at_seed] = seconds[mine]
        board_keys[at_entry, at_seed], board_states[at_entry, at_seed] = keys[mine], states[mine]
        position[mine, 0], position[mine, 1] = at_entry, at_seed
        scored = score_order[score_bounds[number] : score_bounds[number + 1]]
        declared = dict(catalogue.metrics.get(head["task"], {}))
        values: dict[str, Floats] = {}
        nonfinite: dict[str, npt.NDArray[np.bool_]] = {}
        for code in np.unique(metric_code[scored]):
            chosen = scored[metric_code[scored] == code]
            where = position[row[chosen]]
            matrix, odd = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
            matrix[where[:, 0], where[:, 1]] = np.where(finite[chosen], value[chosen], np.nan)
            odd[where[:, 0], where[:, 1]] = ~finite[chosen]
            values[names[code]], nonfinite[names[code]] = matrix, odd
            declared.setdefault(names[code], Metric(names[code], "", "none", "", False, None))
        metrics = {name: metric for name, metric in declared.items() if metric.curve is None}
        for name in metrics:
            values.setdefault(name, np.full(shape, np.nan))
            nonfinite.setdefault(name, np.zeros(shape, dtype=bool))
        if not metrics:
            metrics = {"value": Metric("value", "", "none", "No metric was declared or measured.", True, None)}
            values["value"], nonfinite["value"] = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        label, doc = catalogue.tasks.get(head["task"], (head["task"], ""))
        boards.append(
            Board(
                family,
                head["task"],
                head["task_version"],
                head["task_params"],
                label,
                "",
                doc,
                metrics,
                _entries(head, [entry_heads[entry] for entry in entries], catalogue),
                [int(one) for one in seeds],
                board_keys,
                board_states,
                values,
                nonfinite,
                notes=_without(head, {entry_heads[entry]["method"] for entry in entries}, catalogue),
                seconds=board_seconds,
                series={name: metric for name, metric in declared.items() if metric.curve is not None},
            )
        )
    by_task: dict[str, list[Board]] = defaultdict(list)
    for board in boards:
        by_task[board.task].append(board)
    for same in by_task.values():
        for board, short in zip(
            same, differing([board.task_params for board in same], [board.task_version for board in same]), strict=True
        ):
            board.short = short
    return sorted(boards, key=lambda board: (board.label, board.task, natural(board.short)))


def _entry_key(head: Mapping[str, Any]) -> tuple[str, list[tuple[int, float, str]], int]:
    return head["method"], natural(head["method_params"]), head["method_version"]


def _entries(task: Mapping[str, Any], heads: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> list[Entry]:
    by_method: dict[str, list[int]] = defaultdict(list)
    for at, head in enumerate(heads):
        by_method[head["method"]].append(at)
    shared = Counter(catalogue.methods.get(method, (method, None, ()))[0] for method in by_method)
    shorts = [""] * len(heads)
    for members in by_method.values():
        texts = differing([heads[at]["method_params"] for at in members], [heads[at]["method_version"] for at in members])
        for at, text in zip(members, texts, strict=True):
            shorts[at] = text
    out = []
    for at, head in enumerate(heads):
        label, paper, knowledge = catalogue.methods.get(head["method"], (head["method"], None, ()))
        if shared[label] > 1:
            label = f"{label} [{head['method']}]"  # two methods chose the same label
        chosen = _settings(catalogue.settings.get(head["method"], ()), task, head["method_params"])
        told = dict.fromkeys([*knowledge, *(name for one in chosen for name in one.get("told", ()))])
        names = tuple(one["name"] for one in chosen)
        out.append(Entry(head["method"], head["method_version"], head["method_params"], label, shorts[at], paper, tuple(told), names))
    return out


def _settings(settings: Sequence[Mapping[str, Any]], task: Mapping[str, Any], params: str) -> list[Mapping[str, Any]]:
    """The named choices that these params are on this task."""
    wanted = (task["task"], json.loads(task["task_params"]), json.loads(params)) if settings else None
    return [one for one in settings if (one["task"], one["task_params"], one["params"]) == wanted]


def _without(task: Mapping[str, Any], methods: Iterable[str], catalogue: Catalogue) -> list[str]:
    """Which of these methods have no choice of params of some name on this task, and why."""
    where, labels = (task["task"], json.loads(task["task_params"])), defaultdict(list)
    for method in methods:
        for one in catalogue.settings.get(method, ()):
            if one["params"] is None and (one["task"], one["task_params"]) == where:
                labels[one["name"], one["why"]].append(catalogue.methods[method][0])
    return [f"No {name} row for {', '.join(sorted(names))}: {why}." for (name, why), names in sorted(labels.items())]
