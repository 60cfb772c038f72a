"""The pages besides families and claims: methods, tasks, failures and runs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from db.ledger import Ledger
from reports.anchors import anchor
from reports.columns import metric_cells
from reports.document import Block, Cell, Code, Column, Facts, Row, Section, Table, Text
from reports.errors import ReportError
from reports.questions import EVERYTHING, Filter, keep, moment
from reports.standings import Standing

#: Above this many rows the methods page lists methods without their results: the family pages have them.
MOST_RESULTS = 2000
MOST_FAILURES = 500


def methods_page(ledger: Ledger, standings: Mapping[str, Sequence[Standing]], titles: Mapping[int, str]) -> list[Section]:
    """A part per method that has results: what it is, its params, and how it did on every task."""
    catalogue = {
        row["method"]: row
        for row in ledger.query("SELECT method, family, version, label, doc, paper, knowledge, params_schema FROM methods").to_pylist()
    }
    results: dict[str, list[tuple[Standing, int]]] = defaultdict(list)
    for ranked in (one for group in standings.values() for one in group):
        for at in ranked.order:
            results[ranked.board.entries[at].method].append((ranked, at))
    if not results:
        return []
    full = sum(len(found) for found in results.values()) <= MOST_RESULTS
    parts = tuple(
        _method(name, catalogue.get(name, {}), results[name], titles, full)
        for name in sorted(results, key=lambda one: _label(one, catalogue))
    )
    return [Section("Methods", "methods", (), parts, "Catalogue", f"{len(parts)} methods with results.")]


def _label(method: str, catalogue: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    return method.partition("/")[0], str(catalogue.get(method, {}).get("label") or method).lower()


def _method(name: str, row: Mapping[str, Any], found: Sequence[tuple[Standing, int]], titles: Mapping[int, str], full: bool) -> Section:
    paper = row.get("paper")
    facts = [("id", name), ("family", name.partition("/")[0]), ("version", str(row.get("version", "unknown")))]
    if paper is not None:
        facts.append(("paper", f"{paper}, {titles.get(paper, 'title unknown')}"))
    if told := json.loads(row.get("knowledge") or "[]"):
        facts.append(("is told", ", ".join(map(str, told))))
    blocks: list[Block] = [Facts(tuple(facts)), *_params(name, row.get("params_schema"))]
    if full:
        blocks.append(_results(name, found))
    return Section(str(row.get("label") or name), anchor("method", name), tuple(blocks), summary=_paragraph(row.get("doc")))


def _paragraph(doc: str | None) -> str:
    return " ".join((doc or "").split("\n\n")[0].split())


def _params(name: str, schema: str | None) -> list[Block]:
    properties = json.loads(schema or "{}").get("properties", {})
    if not properties:
        return []
    heads = (Column("param", "param"), Column("type", "type"), Column("default", "default"), Column("doc", "meaning", wrap=True))
    rows = []
    for param, one in properties.items():
        kind = str(one.get("type") or ("choice" if "enum" in one or "const" in one else "value"))
        if "enum" in one:
            kind = ", ".join(json.dumps(value) for value in one["enum"])
        default = json.dumps(one["default"]) if "default" in one else "required"
        rows.append(Row((Cell(param, param), Cell(kind, tone="muted"), Cell(default), Cell(str(one.get("description", "")), tone="muted"))))
    return [Table(anchor("params", name), "Params", heads, tuple(rows))]


def _results(name: str, found: Sequence[tuple[Standing, int]]) -> Table:
    heads = (
        Column("task", "task"),
        Column("params", "params"),
        Column("metric", "metric"),
        Column("mean", "mean", "right"),
        Column("interval", "95 % interval", "right"),
        Column("n", "n", "right"),
        Column("rank", "rank", "right"),
        Column("of", "of", "right"),
    )
    rows = []
    for ranked, at in found:
        board, table = ranked.board, ranked.table
        cell = metric_cells(ranked, ranked.metric.id, [at])[0]
        low, high = ranked.ranks[0][at], ranked.ranks[1][at]
        interval = "–" if cell.low is None or cell.high is None else f"[{cell.low:.4g}, {cell.high:.4g}]".replace("-", "−")
        where = board.coordinates(at)
        rows.append(
            Row(
                (
                    Cell(board.name, board.name, href=f"#board-{board.anchor}"),
                    Cell(board.entries[at].short, board.entries[at].short),
                    Cell(f"{ranked.metric.id} {ranked.metric.arrow}".strip(), ranked.metric.id, tone="muted"),
                    cell,
                    Cell(interval),
                    Cell(str(int(table.n[at])), int(table.n[at]), tone="muted"),
                    Cell("–" if not low else str(low) if low == high else f"{low}–{high}", (low + high) / 2 if low else None),
                    Cell(str(len(ranked.ranked)), len(ranked.ranked), tone="muted"),
                ),
                board.trial_keys(at),
                f"{board.where()} AND {where.method_where()}",
            )
        )
    return Table(anchor("results", name), "Results", heads, tuple(rows))


def tasks_page(ledger: Ledger, standings: Mapping[str, Sequence[Standing]]) -> list[Section]:
    """A part per task: what it asks, its params and metrics, its boards."""
    boards: dict[str, list[Standing]] = defaultdict(list)
    for ranked in (one for group in standings.values() for one in group):
        boards[ranked.board.task].append(ranked)
    metrics: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in ledger.query("SELECT task, metric, unit, direction, doc, is_primary, curve FROM metrics").to_pylist():
        metrics[row["task"]].append(row)
    parts = []
    for row in ledger.query("SELECT task, family, version, label, doc, params_schema FROM tasks ORDER BY family, label").to_pylist():
        if row["task"] not in boards:
            continue
        heads = (
            Column("metric", "metric"),
            Column("unit", "unit"),
            Column("direction", "better"),
            Column("curve", "over"),
            Column("doc", "meaning", wrap=True),
        )
        rows = tuple(
            Row(
                (
                    Cell(one["metric"], one["metric"], tone="best" if one["is_primary"] else "plain"),
                    Cell(one["unit"] if one["unit"] != "1" else "", tone="muted"),
                    Cell({"lower": "lower", "higher": "higher"}.get(one["direction"], ""), tone="muted"),
                    Cell(one["curve"] or "", tone="muted"),
                    Cell(one["doc"], tone="muted"),
                )
            )
            for one in sorted(metrics[row["task"]], key=lambda one: (not one["is_primary"], one["curve"] is not None, one["metric"]))
        )
        blocks: list[Block] = [Facts((("id", row["task"]), ("version", str(row["version"])), ("boards", str(len(boards[row["task"]])))))]
        blocks += _params(row["task"], row["params_schema"])
        blocks.append(Table(anchor("metrics", row["task"]), "Metrics", heads, rows))
        parts.append(Section(row["label"] or row["task"], anchor("task", row["task"]), tuple(blocks), summary=_paragraph(row["doc"])))
    return [Section("Tasks", "tasks", (), tuple(parts), "Catalogue", f"{len(parts)} tasks with results.")] if parts else []


def failures_page(ledger: Ledger, only: Sequence[str] = (), narrow: Filter = EVERYTHING) -> list[Section]:
    """Trials without a result, attempts that failed before one succeeded, and values that did not repeat; empty when there are none."""
    extra, params = narrow.sql()
    table = ledger.query(
        "SELECT trial, family, task, task_params, method, method_params, seed, state, outcome, attempts, error FROM trials "
        f"WHERE state IN ('failed', 'quarantined'){extra} ORDER BY task, method, method_params, seed",
        params,
    )
    try:
        failed = keep(table, narrow.where).to_pylist() if table.num_rows else []
    except ReportError:  # a condition that no failed trial fulfils, or on a param that none has
        failed = []
    failed = [row for row in failed if not only or row["family"] in only]
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in failed:
        key = (row["task"], row["method"], row["method_params"], row["state"], row["outcome"] or "", (row["error"] or "")[:400])
        grouped[key].append(row)
    blocks: list[Block] = []
    if grouped:
        heads = (
            Column("task", "task"),
            Column("method", "method"),
            Column("params", "params", wrap=True),
            Column("outcome", "outcome"),
            Column("trials", "trials", "right"),
            Column("seeds", "seeds"),
            Column("error", "error", wrap=True),
        )
        rows = [
            Row(
                (
                    Cell(task, task),
                    Cell(method, method),
                    Cell(params, tone="muted"),
                    Cell(f"{outcome} ({state})" if state == "quarantined" else outcome, outcome, tone="bad"),
                    Cell(str(len(found)), len(found)),
                    Cell(_seeds([row["seed"] for row in found]), tone="muted"),
                    Cell(error),
                ),
                tuple(row["trial"] for row in found),
            )
            for (task, method, params, state, outcome, error), found in list(grouped.items())[:MOST_FAILURES]
        ]
        more = len(grouped) - len(rows)
        notes = ["`assay retry` gives failed trials another chance; `assay show TRIAL` prints the traceback."]
        if more:
            notes.append(f"{more} more groups of failures are not shown.")
        blocks.append(Table("failures", "Trials without a result", heads, tuple(rows), tuple(notes)))
        blocks += _traceback(ledger, failed[0]["trial"])
    retried = ledger.query(
        "SELECT t.family, a.outcome, COUNT(*) AS attempts FROM attempts a JOIN trials t ON t.trial = a.trial "
        "WHERE a.outcome <> 'ok' AND t.state = 'done' GROUP BY t.family, a.outcome ORDER BY t.family, a.outcome"
    ).to_pylist()
    if retried := [row for row in retried if not only or row["family"] in only]:
        text = ", ".join(f"{row['attempts']} {row['outcome']} ({row['family']})" for row in retried)
        blocks.append(Text(f"Attempts that failed before another succeeded: {text}.", "muted"))
    blocks += _not_repeated(ledger, only)
    return [Section("Failures", "failures-page", tuple(blocks), (), "Ledger")] if blocks else []


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds[:12])) + (" …" if len(seeds) > 12 else "")


def _traceback(ledger: Ledger, trial: str) -> list[Block]:
    rows = ledger.query("SELECT traceback FROM attempts WHERE trial = :trial ORDER BY number DESC LIMIT 1", {"trial": trial}).to_pylist()
    text = (rows[0]["traceback"] or "") if rows else ""
    return [Code(text[-4000:], f"Traceback of trial {trial[:12]}")] if text.strip() else []


def _not_repeated(ledger: Ledger, only: Sequence[str]) -> list[Block]:
    """Replicates whose value differs from the accepted one (times excepted: they always do)."""
    rows = ledger.query(
        "SELECT r.trial, t.family, t.task, t.method, t.seed, r.metric, r.value, r.kind, r.accepted_value, r.accepted_kind "
        "FROM replicates r JOIN trials t ON t.trial = r.trial JOIN metrics m ON m.task = t.task AND m.metric = r.metric "
        "WHERE (r.kind <> r.accepted_kind OR r.value <> r.accepted_value) AND m.unit NOT IN ('s', 'ms', 'seconds') "
        "ORDER BY t.task, t.method, r.metric, t.seed"
    ).to_pylist()
    rows = [row for row in rows if not only or row["family"] in only]
    if not rows:
        return []
    heads = (
        Column("task", "task"),
        Column("method", "method"),
        Column("metric", "metric"),
        Column("seed", "seed", "right"),
        Column("accepted", "accepted", "right"),
        Column("again", "again", "right"),
    )
    shown = tuple(
        Row(
            (
                Cell(row["task"], row["task"]),
                Cell(row["method"], row["method"]),
                Cell(row["metric"], row["metric"]),
                Cell(str(row["seed"]), row["seed"]),
                Cell(_either(row["accepted_value"], row["accepted_kind"]), row["accepted_value"]),
                Cell(_either(row["value"], row["kind"]), row["value"], tone="warn"),
            ),
            (row["trial"],),
        )
        for row in rows[:MOST_FAILURES]
    )
    counts = Counter(row["task"] for row in rows)
    note = "The same trial gave another value: " + ", ".join(f"{count} on {task}" for task, count in counts.most_common(5)) + "."
    return [Table("not-repeated", "Values that did not repeat", heads, shown, (note,))]


def _either(value: float | None, kind: str) -> str:
    return f"{value:.10g}" if value is not None else kind


def runs_page(ledger: Ledger, narrow: Filter = EVERYTHING) -> list[Section]:
    """Every run with what it cost: those with the filter's tags that started since its time."""
    costs = {
        row["run"]: row
        for row in ledger.query(
            "SELECT run, SUM(attempts) AS attempts, SUM(failed_attempts) AS failed, SUM(seconds) AS seconds FROM costs GROUP BY run"
        ).to_pylist()
    }
    tags: dict[str, list[str]] = defaultdict(list)
    for row in ledger.query("SELECT run, tag FROM tags ORDER BY tag").to_pylist():
        tags[row["run"]].append(row["tag"])
    rows = []
    for run in ledger.query(
        "SELECT run, suite, engine, planned, started, finished, status FROM runs ORDER BY started DESC LIMIT 200"
    ).to_pylist():
        mine = tags.get(run["run"], [])
        if any(tag not in mine for tag in narrow.tags) or (narrow.since and str(run["started"]) < moment(narrow.since)):
            continue
        cost = costs.get(run["run"], {})
        failed, seconds = int(cost.get("failed") or 0), float(cost.get("seconds") or 0.0)
        status = run["status"] or "running or killed"
        rows.append(
            Row(
                (
                    Cell(str(run["run"])[:16], run["run"]),
                    Cell(run["suite"], run["suite"]),
                    Cell(run["engine"], run["engine"], tone="muted"),
                    Cell(str(run["started"])[:19].replace("T", " "), str(run["started"])),
                    Cell(status, status, tone="good" if status == "complete" else "warn"),
                    Cell(f"{run['planned']:,}", run["planned"]),
                    Cell(f"{int(cost.get('attempts') or 0):,}", int(cost.get("attempts") or 0)),
                    Cell(str(failed) if failed else "", failed, tone="bad" if failed else "plain"),
                    Cell(duration(seconds), seconds),
                    *([Cell(", ".join(mine))] if tags else []),
                )
            )
        )
    if not rows:
        return []
    heads = (
        Column("run", "run"),
        Column("suite", "suite"),
        Column("engine", "engine"),
        Column("started", "started (UTC)"),
        Column("status", "status"),
        Column("planned", "planned", "right", doc="Trials in the plan, those already done included."),
        Column("attempts", "attempts", "right"),
        Column("failed", "failed", "right", doc="Attempts that did not end ok."),
        Column("seconds", "compute", "right", doc="Wall time of all attempts, summed."),
        *([Column("tags", "tags", wrap=True)] if tags else []),
    )
    return [Section("Runs", "runs", (Table("runs-table", "Runs", heads, tuple(rows)),), (), "Ledger")]


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
