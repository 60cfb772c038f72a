"""The pages about the ledger itself: failures, and runs with what they cost."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from db.ledger import Ledger
from reports.anchors import anchor
from reports.document import Block, Cell, Code, Column, Facts, Row, Section, Table, Text, Tone, dense
from reports.errors import ReportError
from reports.numbers import duration
from reports.params import plain
from reports.questions import EVERYTHING, Filter, keep, moment

MOST_FAILURES, MOST_RUNS = 500, 200

#: Values that did not repeat which are shown at first.
FIRST_VALUES = 20

STATUS_TONES: Mapping[str, Tone] = {"complete": "good", "imported": "muted"}

#: Tracebacks shown in full, runs that get a page of their own, and rows of a run's bill.
MOST_TRACEBACKS, MOST_RUN_PAGES, MOST_BILL = 12, 60, 25


def failures_page(ledger: Ledger, only: Sequence[str] = (), narrow: Filter = EVERYTHING) -> list[Section]:
    """Trials without a result, attempts that failed before one succeeded, and values that did not repeat; empty when there are none."""
    extra, params = narrow.sql()
    table = ledger.query(
        "SELECT trial, family, task, task_params, method, method_params, seed, state, outcome, attempts, error FROM trials "
        f"WHERE state IN ('failed', 'quarantined'){extra} ORDER BY task, method, method_params, seed",
        params,
    )
    failed = _kept(table, only, narrow)
    blocks: list[Block] = [_failed_table(failed), *_tracebacks(ledger, failed)] if failed else []
    extra, params = narrow.sql("t.trial", "t.finished")
    again = ledger.query(
        "SELECT t.family, t.task, t.task_params, t.method, t.method_params, t.seed, a.outcome FROM attempts a "
        f"JOIN trials t ON t.trial = a.trial WHERE a.outcome <> 'ok' AND t.state = 'done'{extra}",
        params,
    )
    if retried := Counter((row["family"], row["outcome"]) for row in _kept(again, only, narrow)):
        text = ", ".join(f"{count} {outcome} ({family})" for (family, outcome), count in sorted(retried.items()))
        blocks.append(Text(f"Attempts that failed beside one that did not: {text}.", "muted"))
    blocks += _not_repeated(ledger, only, narrow)
    return [Section("Failures", "failures-page", tuple(blocks), (), "Ledger")] if blocks else []


def _kept(rows: pa.Table, only: Sequence[str], narrow: Filter) -> list[dict[str, Any]]:
    """The rows of these families (all by default) that fulfil the filter's conditions."""
    try:
        found: list[dict[str, Any]] = keep(rows, narrow.where).to_pylist() if rows.num_rows else []
    except ReportError:  # a condition that no row fulfils, or on a param that none has
        return []
    return [row for row in found if not only or row["family"] in only]


def _failed_table(failed: Sequence[Mapping[str, Any]]) -> Table:
    """One row per configuration and error."""
    grouped: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in failed:
        error = (row["error"] or "")[:400]
        grouped[row["task"], row["task_params"], row["method"], row["method_params"], row["state"], row["outcome"] or "", error].append(row)
    heads = (
        Column("task", "task", wrap=True),
        Column("method", "method", wrap=True),
        Column("outcome", "outcome"),
        Column("trials", "trials", "right"),
        Column("seeds", "seeds"),
        Column("error", "error", wrap=True),
        Column("trial", "first trial", doc="For `assay show` and `assay reproduce`."),
    )
    rows = tuple(
        Row(
            (
                Cell(_with_params(task, task_params), task),
                Cell(_with_params(method, params), method),
                Cell(f"{outcome} ({state})" if state == "quarantined" else outcome, outcome, tone="bad"),
                Cell(str(len(found)), len(found)),
                Cell(_seeds([row["seed"] for row in found]), tone="muted"),
                Cell(error),
                Cell(found[0]["trial"][:12], found[0]["trial"], tone="muted"),
            ),
            tuple(row["trial"] for row in found),
        )
        for (task, task_params, method, params, state, outcome, error), found in list(grouped.items())[:MOST_FAILURES]
    )
    counts = Counter(row["outcome"] or row["state"] for row in failed)
    notes = [
        f"{len(failed):,} trials: {', '.join(f'{count:,} {outcome}' for outcome, count in counts.most_common())}.",
        "`assay retry` gives failed trials another chance; `assay show TRIAL` prints everything about one.",
    ]
    if len(grouped) > len(rows):
        notes.append(f"{len(grouped) - len(rows)} more groups of failures are not shown.")
    return Table("failures", "Trials without a result", heads, rows, tuple(notes))


def _with_params(name: str, params: str) -> str:
    return " ".join([name, *(f"{key}={plain(value)}" for key, value in json.loads(params).items())])


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds[:12])) + (" …" if len(seeds) > 12 else "")


def _tracebacks(ledger: Ledger, failed: Sequence[Mapping[str, Any]]) -> list[Block]:
    """The last traceback of each method and error, the first one unfolded."""
    first = {(row["method"], row["error"]): row for row in reversed(failed)}
    out: list[Block] = []
    for row in list(reversed(first.values()))[:MOST_TRACEBACKS]:
        sql = "SELECT traceback FROM attempts WHERE trial = :trial ORDER BY number DESC LIMIT 1"
        text = "".join(str(one or "") for one in ledger.query(sql, {"trial": row["trial"]}).column(0).to_pylist())
        if text.strip():
            out.append(Code(text[-4000:], f"Traceback of trial {row['trial'][:12]}: {row['method']}, seed {row['seed']}", folded=bool(out)))
    return out


def _not_repeated(ledger: Ledger, only: Sequence[str], narrow: Filter) -> list[Block]:
    """Replicates whose value differs from the accepted one (times excepted: they always do)."""
    extra, params = narrow.sql("t.trial", "t.finished")
    found = ledger.query(
        "SELECT r.trial, t.family, t.task, t.task_params, t.method, t.method_params, t.seed, r.metric, r.value, r.kind, r.accepted_value, "
        "r.accepted_kind FROM replicates r JOIN trials t ON t.trial = r.trial JOIN metrics m ON m.task = t.task AND m.metric = r.metric "
        f"WHERE (r.kind <> r.accepted_kind OR r.value <> r.accepted_value) AND m.unit NOT IN ('s', 'ms', 'seconds'){extra} "
        "ORDER BY t.task, t.method, r.metric, t.seed",
        params,
    )
    rows = _kept(found, only, narrow)
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
    if len(rows) > len(shown):
        note += f" {len(rows) - len(shown):,} more are not shown (view replicates)."
    left = len(shown) - FIRST_VALUES
    folded = f"{left:,} more" if left > 0 else ""
    return [Table("not-repeated", "Values that did not repeat", heads, shown, (note,), folded=folded, unfolded=FIRST_VALUES)]


def _either(value: float | None, kind: str) -> str:
    return f"{value:.10g}" if value is not None else kind


def runs_page(ledger: Ledger, narrow: Filter = EVERYTHING) -> list[Section]:
    """Every run with what it cost, those with the filter's tags that started since its time; a page for each of the newest."""
    costs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in ledger.query("SELECT run, task, method, attempts, failed_attempts, seconds, cpu_seconds FROM costs").to_pylist():
        costs[row["run"]].append(row)
    tags: dict[str, list[str]] = defaultdict(list)
    for row in ledger.query("SELECT run, tag FROM tags ORDER BY tag").to_pylist():
        tags[row["run"]].append(row["tag"])
    sql = "SELECT run, suite, suite_text, engine, planned, started, finished, status FROM runs ORDER BY started DESC"
    found = [
        run
        for run in ledger.query(sql).to_pylist()
        if all(tag in tags.get(run["run"], []) for tag in narrow.tags) and not (narrow.since and str(run["started"]) < moment(narrow.since))
    ]
    runs = found[:MOST_RUNS]
    if not runs:
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
    rows = []
    for number, run in enumerate(runs):
        bill = costs.get(run["run"], [])
        attempts, failed = (sum(int(one[name] or 0) for one in bill) for name in ("attempts", "failed_attempts"))
        seconds = sum(float(one["seconds"] or 0.0) for one in bill)
        link = f"#{anchor('run', run['run'])}" if number < MOST_RUN_PAGES else ""
        rows.append(
            Row(
                (
                    Cell(str(run["run"])[:16], run["run"], href=link),
                    Cell(run["suite"], run["suite"]),
                    Cell(run["engine"], run["engine"], tone="muted"),
                    Cell(str(run["started"])[:19].replace("T", " "), str(run["started"])),
                    status_cell(run["status"]),
                    Cell(f"{run['planned']:,}", run["planned"]),
                    Cell(f"{attempts:,}", attempts),
                    Cell(f"{failed:,}" if failed else "", failed, tone="bad" if failed else "plain"),
                    Cell(duration(seconds), seconds),
                    *([Cell(", ".join(tags.get(run["run"], [])))] if tags else []),
                )
            )
        )
    pages = tuple(_run(ledger, run, costs.get(run["run"], []), tags.get(run["run"], [])) for run in runs[:MOST_RUN_PAGES])
    notes = (f"{len(found) - len(runs):,} older runs are not shown (view runs).",) if len(found) > len(runs) else ()
    return [Section("Runs", "runs", (Table("runs-table", "Runs", heads, tuple(rows), notes),), pages, "Ledger")]


def status_cell(status: str | None, without: str = "running or killed") -> Cell:
    """How a run ended; `without` stands for one that has not."""
    text = status or without
    return Cell(text, text, tone=STATUS_TONES.get(text, "warn"))


def _run(ledger: Ledger, run: Mapping[str, Any], bill: Sequence[Mapping[str, Any]], tags: Sequence[str]) -> Section:
    """What a run did, where, and what it cost."""
    seconds, cpu = (sum(float(one[name] or 0.0) for one in bill) for name in ("seconds", "cpu_seconds"))
    facts = [
        ("suite", run["suite"]),
        ("status", str(run["status"] or "running or killed")),
        ("started", f"{str(run['started'])[:19].replace('T', ' ')} UTC"),
        ("planned", f"{run['planned']:,} trials"),
        ("compute", f"{duration(seconds)} in attempts, {duration(cpu)} of CPU time"),
    ]
    wall = _between(run["started"], run["finished"])
    if wall:
        facts.insert(3, ("took", f"{duration(wall)} with engine {run['engine']}: {seconds / wall:.1f} attempts at a time on average"))
    if tags:
        facts.append(("tags", ", ".join(tags)))
    blocks: list[Block] = [
        Facts(tuple(facts)),
        *_outcomes(ledger, run["run"]),
        *_bill(run["run"], bill, seconds),
        *_machines(ledger, run["run"]),
    ]
    if run["suite_text"] and len(run["suite_text"]) < 20_000:
        blocks.append(Code(run["suite_text"], "The suite as it was run", folded=True))
    return Section(f"Run {run['run']}", anchor("run", run["run"]), tuple(blocks), page=True)


def _between(start: object, end: object) -> float:
    """Seconds from one of the ledger's times to another; 0 where one is missing."""
    if not start or not end:
        return 0.0
    return max(0.0, (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))).total_seconds())


def _outcomes(ledger: Ledger, run: str) -> list[Block]:
    sql = "SELECT outcome, COUNT(*) AS attempts FROM attempts WHERE run = :run GROUP BY outcome ORDER BY COUNT(*) DESC"
    rows = ledger.query(sql, {"run": run}).to_pylist()
    if not rows:
        return [Text("It made no attempt: everything planned was done already.", "muted")]
    return [Facts(tuple((row["outcome"], f"{row['attempts']:,}") for row in rows))]


def _bill(run: str, bill: Sequence[Mapping[str, Any]], total: float) -> list[Block]:
    """Cost by task and method, the dearest first."""
    if not bill:
        return []
    heads = (
        Column("task", "task"),
        Column("method", "method"),
        Column("attempts", "attempts", "right"),
        Column("failed", "failed", "right", doc="Attempts that did not end ok."),
        Column("seconds", "compute", "right", doc="Wall time of the attempts, summed."),
        Column("share", "share", "right", doc="Of the run's compute."),
        Column("each", "per attempt", "right"),
    )
    ordered = sorted(bill, key=lambda one: (-float(one["seconds"] or 0.0), one["task"], one["method"]))
    rows = []
    for one in ordered[:MOST_BILL]:
        seconds, failed = float(one["seconds"] or 0.0), int(one["failed_attempts"] or 0)
        share, each = seconds / total if total else 0.0, seconds / int(one["attempts"])
        rows.append(
            Row(
                (
                    Cell(one["task"], one["task"]),
                    Cell(one["method"], one["method"]),
                    Cell(f"{one['attempts']:,}", int(one["attempts"])),
                    Cell(f"{failed:,}" if failed else "", failed, tone="bad" if failed else "plain"),
                    Cell(duration(seconds), seconds),
                    Cell(f"{share:.1%}", share, tone="muted"),
                    Cell(f"{each:.3g} s", each, tone="muted"),
                )
            )
        )
    left = ordered[MOST_BILL:]
    notes = (
        (f"{len(left)} cheaper ones, {duration(sum(float(one['seconds'] or 0.0) for one in left))} together, are not shown.",)
        if left
        else ()
    )
    return [Table(anchor("bill", run), "What it cost", heads, tuple(rows), notes)]


def _machines(ledger: Ledger, run: str) -> list[Block]:
    """Where its attempts ran."""
    sql = (
        "SELECT e.hostname, e.cpu, e.gpu, e.python, e.torch, e.git_commit, e.git_dirty, COUNT(*) AS attempts "
        "FROM attempts a JOIN environments e ON e.environment = a.environment WHERE a.run = :run "
        "GROUP BY e.hostname, e.cpu, e.gpu, e.python, e.torch, e.git_commit, e.git_dirty ORDER BY COUNT(*) DESC LIMIT 50"
    )
    heads = (
        Column("host", "machine"),
        Column("cpu", "CPU", wrap=True),
        Column("gpu", "GPU", wrap=True),
        Column("python", "Python"),
        Column("torch", "torch"),
        Column("commit", "commit", doc="Of the code that ran; + where the work tree had other changes."),
        Column("attempts", "attempts", "right"),
    )
    rows = tuple(
        Row(
            (
                Cell(row["hostname"] or "unknown", row["hostname"]),
                Cell(row["cpu"] or "", tone="muted"),
                Cell(row["gpu"] or "", tone="muted"),
                Cell(row["python"] or "", tone="muted"),
                Cell(row["torch"] or "", tone="muted"),
                Cell(commit_text(row["git_commit"], row["git_dirty"]), row["git_commit"]),
                Cell(f"{row['attempts']:,}", row["attempts"]),
            )
        )
        for row in ledger.query(sql, {"run": run}).to_pylist()
    )
    return [dense(Table(anchor("machines", run), "Where it ran", heads, rows))] if rows else []


def commit_text(commit: str | None, dirty: object) -> str:
    """A commit for people; + where the work tree held other changes."""
    return "unknown" if not commit else commit[:10] + ("+" if dirty else "")
