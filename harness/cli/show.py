"""`assay show TRIAL`: everything the ledger knows about one trial."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.common import DEFAULT_DB, DbOption, JsonOption, open_ledger, print_json, stdout
from harness.errors import NotInLedger

if TYPE_CHECKING:
    from rich.console import Console

    from db.ledger import Ledger

TrialArgument = Annotated[str, typer.Argument(help="A trial's key, or the first characters of it.")]


def register(app: typer.Typer) -> None:
    app.command()(show)


def show(trial: TrialArgument, db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """Print everything known about a trial: identity, attempts, measurements, environment, output."""
    with open_ledger(db) as ledger:
        record = trial_record(ledger, find_trial(ledger, trial))
    if as_json:
        print_json(record)
    else:
        _print(record, stdout())


def find_trial(ledger: Ledger, prefix: str) -> str:
    """The full key of the one trial that starts with `prefix`; NotInLedger when there is none or more than one."""
    prefix = prefix.lower()
    if not prefix or any(character not in "0123456789abcdef" for character in prefix):
        raise NotInLedger(f"{prefix!r} is not a trial key; keys are hexadecimal, as `assay sql 'SELECT trial FROM trials'` lists them.")
    rows = ledger.query(
        "SELECT trial FROM trials WHERE trial >= :low AND trial < :high ORDER BY trial LIMIT 2", {"low": prefix, "high": prefix + "g"}
    ).to_pylist()
    if not rows:
        raise NotInLedger(f"No trial in {ledger.url} starts with {prefix}.")
    if len(rows) > 1:
        raise NotInLedger(f"More than one trial starts with {prefix}; give more characters.")
    return str(rows[0]["trial"])


def trial_record(ledger: Ledger, key: str) -> dict[str, Any]:
    """The trial with its attempts (each with its environment), scores, curves and replicates, as JSON values."""

    def rows(sql: str) -> list[dict[str, Any]]:
        return ledger.query(sql, {"key": key}).to_pylist()  # type: ignore[no-any-return]

    trial = rows("SELECT * FROM trials WHERE trial = :key")[0]
    attempts = rows("SELECT * FROM attempts WHERE trial = :key ORDER BY number")
    for row in (trial, *attempts):
        for name in ("task_params", "method_params", "info"):
            if isinstance(row.get(name), str):
                row[name] = json.loads(row[name])
    hashes = {attempt["environment"] for attempt in attempts if attempt["environment"]}
    environments = {
        name: json.loads(ledger.query("SELECT content FROM environments WHERE environment = :e", {"e": name}).to_pylist()[0]["content"])
        for name in sorted(hashes)
    }
    return {
        "trial": trial,
        "scores": rows("SELECT metric, unit, direction, value, kind FROM scores WHERE trial = :key ORDER BY metric"),
        "curves": rows("SELECT metric, COUNT(*) AS points FROM curves WHERE trial = :key GROUP BY metric ORDER BY metric"),
        "attempts": attempts,
        "replicates": rows("SELECT * FROM replicates WHERE trial = :key"),
        "environments": environments,
    }


def _print(record: dict[str, Any], console: Console) -> None:
    from reports.render.clean import printable

    trial = record["trial"]

    def line(name: str, value: Any) -> None:
        console.print(f"[bold]{name:>12}[/]  ", end="")
        console.print(str(value), markup=False, soft_wrap=True)

    line("trial", trial["trial"])
    line("task", f"{trial['task']} (version {trial['task_version']}) {_params(trial['task_params'])}")
    line("method", f"{trial['method']} (version {trial['method_version']}) {_params(trial['method_params'])}")
    line("seed", trial["seed"])
    line("data", trial["data_fingerprint"])
    line("state", f"{trial['state']}, outcome {trial['outcome'] or 'none yet'}")
    for score in record["scores"]:
        value = f"{score['value']:.6g}" if score["kind"] == "finite" else score["kind"]
        line(score["metric"], value if score["unit"] == "1" else f"{value} {score['unit']}")
    for curve in record["curves"]:
        line(curve["metric"], f"curve with {curve['points']} points")
    for attempt in record["attempts"]:
        accepted = ", accepted" if attempt["accepted"] else ""
        block = f", block {attempt['block']}" if attempt["block"] is not None else ""
        console.rule(f"attempt {attempt['number']}: {attempt['outcome']}{accepted}{block}", align="left", style="dim")
        line("when", f"{attempt['started']}, {attempt['seconds']:.3f} s ({attempt['cpu_seconds']:.3f} s CPU) on {attempt['worker']}")
        for name in ("error", "traceback", "stdout", "stderr"):
            if attempt[name]:
                text = "\n".join(printable(row) for row in attempt[name].rstrip().splitlines())  # it may hold terminal escapes
                line(name, text if name == "error" else "\n" + text)
        if attempt["info"]:
            line("info", json.dumps(attempt["info"], ensure_ascii=False))
        if environment := record["environments"].get(attempt["environment"]):
            git = environment.get("git") or {}
            commit = f", commit {git['commit'][:12]}{' (dirty)' if git.get('dirty') else ''}" if git else ""
            packages = ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items())
            line(
                "environment", f"{attempt['environment'][:12]}: Python {environment['python']} on {environment['cpu']}{commit}; {packages}"
            )
    if record["replicates"]:
        line("replicates", f"{len(record['replicates'])} values of later attempts")


def _params(params: dict[str, Any]) -> str:
    return " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in params.items())
