"""How the results of methods changed over versions and commits: one table per method whose results come from more than one of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from db.ledger import Ledger
from reports.anchors import anchor
from reports.document import Block, Cell, Code, Column, Plot, Row, Table, Tone, dense
from reports.ledger_pages import commit_text
from reports.numbers import formatter
from reports.params import differing
from reports.plots.figure import Axis, Figure, Panel, Point, Series
from reports.provenance import literal
from reports.questions import EVERYTHING, Filter
from reports.stats.distributions import Floats
from reports.stats.intervals import FREE, Bounds, Estimate, t_interval
from reports.stats.multiplicity import holm
from reports.stats.paired import PairedResult, differences, paired_t

#: Steps of a configuration from which its history is drawn, and most such figures per method.
DRAWN_FROM, MOST_DRAWN = 3, 3

_MEASURED = """SELECT s.task, s.task_version, s.task_params, s.method, s.method_version, s.method_params, s.metric, s.direction, s.seed,
  s.value, s.trial, a.finished, e.git_commit, e.git_dirty
FROM scores s JOIN attempts a ON a.attempt = s.attempt LEFT JOIN environments e ON e.environment = a.environment
WHERE s.is_primary = 1 AND s.value IS NOT NULL AND {scores}
UNION ALL
SELECT t.task, t.task_version, t.task_params, t.method, t.method_version, t.method_params, r.metric, m.direction, t.seed,
  r.value, r.trial, a.finished, e.git_commit, e.git_dirty
FROM replicates r JOIN trials t ON t.trial = r.trial JOIN metrics m ON m.task = t.task AND m.metric = r.metric
JOIN attempts a ON a.attempt = r.attempt LEFT JOIN environments e ON e.environment = a.environment
WHERE m.is_primary = 1 AND r.value IS NOT NULL AND {trials}"""


@dataclass(slots=True)
class Step:
    """The results of one configuration at one version and commit; `values` by seed."""

    version: str
    commit: str
    day: str
    values: dict[int, float] = field(default_factory=dict)
    trials: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.version}, {self.commit}, {self.day}"

    def array(self) -> Floats:
        return np.array([self.values[seed] for seed in sorted(self.values)])


#: Task, its params, the method's params, metric, direction.
Place = tuple[str, str, str, str, str]


def histories(
    ledger: Ledger, wanted: Mapping[str, Collection[tuple[str, str, str]]], narrow: Filter = EVERYTHING
) -> dict[str, list[Block]]:
    """By method id, where the primary metric of a configuration was measured at several versions or commits.

    `wanted` holds the (task, task params, method params) of each method that are of interest. Repetitions of a trial count at the commit
    that repeated it; older versions of tasks and methods are part of it.
    """
    extra, params = narrow.sql("t.trial", "t.finished")
    sql = (
        "SELECT DISTINCT t.method, t.method_version, t.task_version, e.git_commit, e.git_dirty FROM trials t "
        f"JOIN attempts a ON a.trial = t.trial LEFT JOIN environments e ON e.environment = a.environment WHERE a.outcome = 'ok'{extra}"
    )
    seen: dict[str, int] = defaultdict(int)
    for name in ledger.query(sql, params).column(0).to_pylist():
        seen[name] += 1
    bounds = _bounds(ledger)
    out = {}
    for name, configurations in wanted.items():
        if seen[name] > 1:
            places = {at: steps for at, steps in _steps(ledger, name, narrow).items() if len(steps) > 1 and at[:3] in configurations}
            if places:
                out[name] = _blocks(name, places, narrow, bounds)
    return out


def _bounds(ledger: Ledger) -> dict[tuple[str, str], Bounds]:
    """Values that a metric can't leave, by task and metric, where it declares any."""
    rows = ledger.query("SELECT task, metric, low, high FROM metrics WHERE low IS NOT NULL OR high IS NOT NULL").to_pylist()
    return {
        (row["task"], row["metric"]): (-math.inf if row["low"] is None else row["low"], math.inf if row["high"] is None else row["high"])
        for row in rows
    }


def _sql(method: str, narrow: Filter) -> str:
    """The measurements as text to copy and run."""
    only = narrow.literal_sql()
    scores, trials = (" AND ".join(filter(None, (f"{at}.method = {literal(method)}", _qualified(only, at)))) for at in ("s", "t"))
    return _MEASURED.format(scores=scores, trials=trials)


def _qualified(conditions: str, at: str) -> str:
    """A filter's conditions on `trial` and `seed` as conditions on the columns of one of the joined views."""
    return f"{at}.trial IN (SELECT trial FROM trials WHERE {conditions})" if conditions else ""


def _steps(ledger: Ledger, method: str, narrow: Filter) -> dict[Place, list[Step]]:
    """The history of each configuration, in order of time."""
    places: dict[Place, dict[tuple[str, str], Step]] = defaultdict(dict)
    for row in sorted(ledger.query(_sql(method, narrow)).to_pylist(), key=lambda row: str(row["finished"])):
        place = (row["task"], row["task_params"], row["method_params"], row["metric"], row["direction"])
        key = (f"v{row['method_version']} on v{row['task_version']}", commit_text(row["git_commit"], row["git_dirty"]))
        step = places[place].setdefault(key, Step(*key, str(row["finished"])[:10]))
        step.values.setdefault(row["seed"], float(row["value"]))
        step.trials.setdefault(row["seed"], row["trial"])
    return {place: list(steps.values()) for place, steps in places.items()}


def _blocks(method: str, places: Mapping[Place, list[Step]], narrow: Filter, bounds: Mapping[tuple[str, str], Bounds]) -> list[Block]:
    heads = (
        Column("task", "task", wrap=True),
        Column("params", "params", wrap=True),
        Column("version", "version", doc="Of the method, on which of the task."),
        Column("commit", "commit", doc="Of the code that ran; + where the work tree had other changes."),
        Column("day", "first (UTC)", spare=3),
        Column("mean", "mean", "right", doc="Of the primary metric."),
        Column("interval", "95 % interval", "right", spare=2),
        Column("n", "n", "right", spare=4),
        Column("change", "change", "right", doc="From the line above, paired t over the seeds that both have; * Holm's p below 5 %."),
    )
    tests = {
        (place, number): test
        for place, steps in places.items()
        for number, (before, after) in enumerate(pairwise(steps), 1)
        if (test := _change(before, after)) is not None
    }
    adjusted = dict(zip(tests, holm(np.array([test.p for test in tests.values()])), strict=True))
    rows, plots = [], list[Block]()
    task_texts = _texts([place[1] for place in places])
    param_texts = _texts([place[2] for place in places])
    for at, (place, steps) in enumerate(places.items()):
        task, _, _, metric, direction = place
        arrow = {"lower": " ↓", "higher": " ↑"}.get(direction, "")
        estimates = [t_interval(step.array(), bounds=bounds.get((task, metric), FREE)) for step in steps]
        write = formatter([one.value for one in estimates], [(one.high - one.low) / 2 for one in estimates])
        for number, (step, estimate) in enumerate(zip(steps, estimates, strict=True)):
            test, p = tests.get((place, number)), adjusted.get((place, number), 1.0)
            rows.append(
                Row(
                    (
                        Cell(f"{task.rpartition('/')[2]} {task_texts[at]}: {metric}{arrow}".replace(" :", ":") if not number else "", task),
                        Cell(param_texts[at] if not number else "", param_texts[at]),
                        Cell(step.version, tone="muted"),
                        Cell(step.commit),
                        Cell(step.day, tone="muted"),
                        Cell(write(estimate.value), estimate.value),
                        Cell("–" if np.isnan(estimate.low) else f"[{write(estimate.low)}, {write(estimate.high)}]"),
                        Cell(str(estimate.n), estimate.n, tone="muted"),
                        _cell(test, p, direction),
                    ),
                    tuple(step.trials[seed] for seed in sorted(step.trials)),
                )
            )
        if len(steps) >= DRAWN_FROM and len(plots) < MOST_DRAWN:
            title = " ".join(filter(None, (task.rpartition("/")[2], task_texts[at], param_texts[at])))
            plots.append(Plot(anchor(f"plot-history-{len(plots)}", method), _figure(title, metric, direction, steps, estimates)))
    note = "Repetitions of a trial count at the commit that made them. A change of version means that the results may differ on purpose."
    table = dense(Table(anchor("history", method), "History", heads, tuple(rows), (note,)))
    return [table, *plots, Code(_sql(method, narrow), "SQL of the history", folded=True)]


def _texts(params: Sequence[str]) -> list[str]:
    return differing(params, [1] * len(params))


def _change(before: Step, after: Step) -> PairedResult | None:
    """The later step against the earlier one; None with fewer than two common seeds."""
    seeds = sorted(before.values.keys() & after.values.keys())
    if len(seeds) < 2:
        return None
    return paired_t(differences(*(np.array([step.values[seed] for seed in seeds]) for step in (after, before))))


def _cell(test: PairedResult | None, p: float, direction: str) -> Cell:
    if test is None:
        return Cell("–")
    write = formatter([test.effect], [(test.high - test.low) / 2])
    if test.effect == test.low == test.high == 0:
        return Cell("none", 0.0, tone="muted")
    sure = p < 0.05
    tone: Tone = "plain" if not sure or direction == "none" else "good" if (test.effect < 0) == (direction == "lower") else "bad"
    text = f"{write(test.effect)} [{write(test.low)}, {write(test.high)}]{'*' if sure else ''}"
    return Cell(text, test.effect, test.low, test.high, tone=tone, note=f"{test.test}, {test.n} seeds")


def _figure(title: str, metric: str, direction: str, steps: Sequence[Step], estimates: Sequence[Estimate]) -> Figure:
    points = []
    for row, (step, estimate) in enumerate(zip(steps, estimates, strict=True)):
        low, high = (None if np.isnan(end) else end for end in (estimate.low, estimate.high))
        points.append(Point(estimate.value, float(row), x_low=low, x_high=high, label=f"{step.name}: {estimate.value:.5g}"))
    return Figure(
        f"{metric} over time: {title}",
        f"Interval plot of {metric} at {len(steps)} versions or commits, the oldest first.",
        Axis(metric, "", better="lower" if direction == "lower" else "higher" if direction == "higher" else None),
        Axis("", rows=tuple(step.name for step in steps)),
        (Panel("", (Series(metric, tuple(points), "interval", 0),)),),
        "Mean and 95 % interval over seeds, the oldest first.",
    )
