"""Two sides compared: methods, commits, machines or ledgers. Paired where pairs exist; only what changed is shown by default."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from db.ledger import Ledger
from reports.document import Block, Cell, Column, Document, Row, Section, Table, Text, dense
from reports.errors import BadQuestion, NotPaired
from reports.numbers import formatter, p_value
from reports.params import differing
from reports.questions import EVERYTHING, Filter
from reports.sides import By, Group, Side, kind_of, load_side
from reports.stats.caveats import few_t
from reports.stats.distributions import student_cdf, student_quantile
from reports.stats.effects import a12
from reports.stats.multiplicity import CORRECTION_TEXT, CORRECTIONS, Correction
from reports.stats.paired import between, differences, paired_t

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Change:
    """A group on both sides. `p` is raw, `adjusted` corrected over all groups compared; `worse`: in the metric's bad direction."""

    group: Group
    direction: str
    unit: str
    n: int
    a: float
    b: float
    effect: float
    low: float
    high: float
    p: float
    test: str
    trials: tuple[str, ...]
    a12: float = float("nan")  #: chance that B on a random seed is better than A on another, ties half
    adjusted: float = float("nan")

    @property
    def changed(self) -> bool:
        return self.adjusted < LEVEL

    @property
    def worse(self) -> bool:
        return self.changed and ((self.direction == "lower" and self.effect > 0) or (self.direction == "higher" and self.effect < 0))

    @property
    def relative(self) -> float:
        return self.effect / abs(self.a) if self.a else float("nan")


@dataclass(frozen=True, slots=True)
class Lost:
    """A configuration with results on A whose trials on B ended without one (`metric` empty), or a metric no longer finite there."""

    task: str
    task_params: str
    method: str
    method_params: str
    metric: str
    seeds: tuple[int, ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes, B minus A, and what could not be compared."""

    a: str
    b: str
    by: By
    changes: tuple[Change, ...]
    pairs: int
    alone: int  #: groups that only one side has
    too_few: tuple[str, ...] = field(default_factory=tuple)
    lost: tuple[Lost, ...] = field(default_factory=tuple)
    correction: Correction = "holm"


def compare(
    ledger: Ledger,
    a: str,
    b: str,
    *,
    by: By | None = None,
    metric: str = "",
    other: Callable[[str], Ledger] | None = None,
    only: Filter = EVERYTHING,
    correction: Correction = "holm",
) -> Comparison:
    """B compared with A, which name ledger files or URLs, methods (with `:name=value,...`), commits or machines; `by` says which.

    `other` opens a ledger by URL; `only` narrows both sides. Raises NotPaired when no group exists on both sides with a common seed.
    """
    kind = by or kind_of(ledger, a, b)
    if kind == "ledger":
        if other is None:
            raise BadQuestion("Comparing ledgers needs a way to open them.")
        sides = []
        for url in (a, b):
            with other(url) as opened:
                sides.append(load_side(opened, url, "ledger", only))
    else:
        sides = [load_side(ledger, name, kind, only) for name in (a, b)]
    declared = {(row["task"], row["metric"]): row for row in _metrics(ledger if kind != "ledger" else other, a)}
    return _compare(sides[0], sides[1], kind, declared, metric, correction)


def _metrics(source: Any, url: str) -> list[dict[str, Any]]:
    sql = "SELECT task, metric, direction, unit, is_primary FROM metrics"
    if isinstance(source, Ledger):
        return source.query(sql).to_pylist()  # type: ignore[no-any-return]
    with source(url) as opened:
        return opened.query(sql).to_pylist()  # type: ignore[no-any-return]


def _compare(
    a: Side, b: Side, kind: By, declared: Mapping[tuple[str, str], Mapping[str, Any]], metric: str, correction: Correction
) -> Comparison:
    common = sorted(group for group in a.values if group in b.values and metric in ("", group[-1]))
    alone = sum(metric in ("", group[-1]) for group in a.values.keys() ^ b.values.keys())
    if metric and metric not in (known := {group[-1] for side in (a, b) for group in side.values}):
        raise BadQuestion(f"Neither {a.name} nor {b.name} has a metric {metric!r}; metrics there: {', '.join(sorted(known)) or 'none'}.")
    changes, too_few, pairs = [], [], 0
    for group in common:
        seeds = sorted(a.values[group].keys() & b.values[group].keys())
        info = declared.get((group[1], group[-1]), {})
        unit = str(info.get("unit", ""))
        label = f"{group[1]} {group[3].rpartition('/')[2]} {group[-1]}".replace("  ", " ")
        timing = unit in ("s", "second", "seconds", "ms") and kind in ("commit", "machine", "ledger")
        keys = tuple(dict.fromkeys(key for side in (a, b) for key in side.trials[group].values()))
        if timing:
            change = _timing(group, a, b, info, unit, keys)
        elif len(seeds) >= 2:
            left, right = (np.array([side.values[group][seed] for seed in seeds]) for side in (a, b))
            # The same trial gives the same bits: between commits and machines the same difference on every seed is no chance.
            test = between(right, left) if kind == "method" else paired_t(differences(right, left))
            good = -1.0 if info.get("direction") == "lower" else 1.0
            change = Change(
                group,
                str(info.get("direction", "none")),
                unit,
                len(seeds),
                float(left.mean()),
                float(right.mean()),
                test.effect,
                test.low,
                test.high,
                test.p,
                "paired t over seeds",
                keys,
                a12(good * right, good * left),
            )
        else:
            change = None
        if change is None:
            too_few.append(label)
            continue
        pairs += change.n
        changes.append(change)
    lost = _lost(a, b, metric)
    if not changes and not too_few and not lost:
        raise NotPaired(f"{a.name} and {b.name} have no task, configuration and metric in common, so they can't be compared.")
    adjusted = CORRECTIONS[correction](np.array([change.p for change in changes]))
    corrected = (replace(change, adjusted=float(p)) for change, p in zip(changes, adjusted, strict=True))
    ordered = tuple(sorted(corrected, key=lambda change: (change.adjusted, change.group)))
    return Comparison(a.name, b.name, kind, ordered, pairs, alone, tuple(too_few), lost, correction)


def _lost(a: Side, b: Side, metric: str) -> tuple[Lost, ...]:
    """What A has and B tried in vain, each configuration once."""
    found: dict[tuple[str, ...], dict[int, str]] = {}
    for group, values in a.values.items():
        if metric not in ("", group[-1]):
            continue
        for without, place in ((b.failed.get(group[:5], {}), (*group[:5], "")), (b.odd.get(group, {}), group)):
            for seed in values.keys() & without.keys():
                found.setdefault(place, {})[seed] = without[seed]
    return tuple(
        Lost(task, task_params, method, params, of, tuple(sorted(seeds)), ", ".join(sorted(set(seeds.values()))))
        for (_, task, task_params, method, params, of), seeds in sorted(found.items())
    )


def _timing(group: Group, a: Side, b: Side, info: Mapping[str, Any], unit: str, keys: tuple[str, ...]) -> Change | None:
    """Times vary more between sessions than within one: Welch's t over the sessions' mean log times.

    None with fewer than two sessions a side.
    """
    means = []
    for side in (a, b):
        by_session: dict[str, list[float]] = {}
        for seed, value in side.values[group].items():
            by_session.setdefault(side.sessions[group][seed], []).append(value)
        if len(by_session) < 2 or min(min(values) for values in by_session.values()) <= 0:
            return None
        means.append(np.array([np.mean(np.log(values)) for values in by_session.values()]))
    left, right = means
    shares = [float(one.var(ddof=1)) / len(one) for one in means]
    effect, error = float(right.mean() - left.mean()), float(np.sqrt(sum(shares)))
    n = min(len(left), len(right))
    base = float(np.exp(left.mean()))
    if error == 0:
        p, half = (0.0 if effect else 1.0), 0.0
    else:
        df = sum(shares) ** 2 / sum(share**2 / (len(one) - 1) for share, one in zip(shares, means, strict=True))
        p = 2 * float(student_cdf(-abs(effect) / error, df))
        half = float(student_quantile(0.975, df)) * error
    shift, low, high = (base * (float(np.exp(x)) - 1) for x in (effect, effect - half, effect + half))
    test = f"Welch's t of log time over {len(left)} and {len(right)} sessions"
    return Change(group, str(info.get("direction", "lower")), unit, n, base, base + shift, shift, low, high, p, test, keys)


def comparison_document(found: Comparison, *, everything: bool = False) -> Document:
    """The changes as a table; all groups with `everything`."""
    shown = [change for change in found.changes if everything or change.changed]
    changed, worse = sum(change.changed for change in found.changes), sum(change.worse for change in found.changes)
    results = f"{len(found.changes)} result{'' if len(found.changes) == 1 else 's'}"
    summary = (
        f"{results} compared over {found.pairs} pairs: {changed} changed, {worse} for the worse "
        f"(5 %, corrected over all of them: {CORRECTION_TEXT[found.correction]}). {found.alone} exist on one side only."
    )
    if found.too_few:
        names = ", ".join(found.too_few[:5])
        summary += f" {len(found.too_few)} have too few seeds or sessions to judge ({names}{', …' if len(found.too_few) > 5 else ''})."
    heads = (
        Column("task", "task", wrap=True),
        Column("method", "method", wrap=True),
        Column("metric", "metric"),
        Column("a", "A", "right", doc=found.a),
        Column("b", "B", "right", doc=found.b),
        Column("effect", "B − A", "right"),
        Column("relative", "change", "right"),
        Column(
            "a12",
            "A12",
            "right",
            doc="Vargha-Delaney: chance that B on a random seed is better than A on another, ties half; Cliff's delta is 2 A12 - 1.",
            spare=4,
        ),
        Column("n", "n", "right"),
        Column("p", "p", "right", doc=f"Corrected over all results compared ({CORRECTION_TEXT[found.correction]})."),
        Column("test", "test", wrap=True),
    )
    rows = tuple(_row(change) for change in shown)
    paired = [change.n for change in shown if change.test.startswith("paired")]
    few = few_t(min(paired)) if paired else ""
    table = Table("compare", f"A: {found.a}. B: {found.b}.", heads, rows, (few,) if few else ())
    if found.by == "method":  # the sides are the methods
        table = dense(table)
    blocks: tuple[Block, ...] = (Text(summary), table) if rows else (Text(summary),)
    if found.lost:
        blocks += (_lost_table(found),)
    return Document(f"Compare by {found.by}", (Section(f"{found.a} → {found.b}", "compare", blocks),))


def _lost_table(found: Comparison) -> Table:
    heads = (
        Column("task", "task", wrap=True),
        Column("method", "method", wrap=True),
        Column("metric", "metric"),
        Column("n", "seeds", "right"),
        Column("outcome", "ended as"),
    )
    rows = tuple(
        Row(
            (
                Cell(_configured(one.task, one.task_params), one.task),
                Cell(_configured(one.method, one.method_params), one.method),
                Cell(one.metric or "all", one.metric, tone="muted"),
                Cell(str(len(one.seeds)), len(one.seeds)),
                Cell(one.outcome, one.outcome, tone="bad"),
            )
        )
        for one in found.lost
    )
    return Table("lost", f"Results of {found.a} that {found.b} lost", heads, rows)


def _configured(name: str, params: str) -> str:
    """A task or method with all its params."""
    return name if params in ("", "{}") else f"{name} {differing([params, '{}'], [1, 1])[0]}".strip()


def _row(change: Change) -> Row:
    _, task, task_params, method, params, metric = change.group
    write = formatter([change.a, change.b], [(change.high - change.low) / 2])
    arrow = {"lower": " ↓", "higher": " ↑"}.get(change.direction, "")
    tone: Literal["bad", "good", "plain"] = "bad" if change.worse else "good" if change.changed and change.direction != "none" else "plain"
    relative = change.relative
    return Row(
        (
            Cell(_configured(task, task_params), task),
            Cell(_configured(method, params), method),
            Cell(metric + arrow, metric),
            Cell(write(change.a), change.a),
            Cell(write(change.b), change.b),
            Cell(f"{write(change.effect)} [{write(change.low)}, {write(change.high)}]", change.effect, change.low, change.high, tone=tone),
            Cell("–" if np.isnan(relative) else f"{relative:+.1%}".replace("-", "−"), None if np.isnan(relative) else relative, tone=tone),
            Cell(
                "–" if np.isnan(change.a12) else f"{change.a12:.2f}",
                None if np.isnan(change.a12) else change.a12,
                note="" if np.isnan(change.a12) else f"Cliff's delta {2 * change.a12 - 1:.2f}",
            ),
            Cell(str(change.n), change.n, tone="muted"),
            Cell(p_value(change.adjusted), None if np.isnan(change.adjusted) else change.adjusted),
            Cell(change.test, tone="muted"),
        ),
        change.trials,
    )


def judged(found: Comparison, metrics: Collection[tuple[str, str]]) -> list[Change]:
    """The changes in these (task, metric) pairs; all when there are none."""
    return [change for change in found.changes if not metrics or (change.group[1], change.group[-1]) in metrics]


def regressions(found: Comparison, metrics: Collection[tuple[str, str]], tolerance: float) -> list[Change]:
    """Those `judged` that are worse by more than `tolerance` (a share of A's value)."""
    return [change for change in judged(found, metrics) if change.worse and not abs(change.relative) <= tolerance]
