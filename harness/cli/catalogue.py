"""`assay tasks`, `methods`, `papers`, `suite`: what can be run, read from the code (no ledger needed)."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.common import JsonOption, open_ledger, print_json, stderr, stdout

if TYPE_CHECKING:
    from tasks.registry import Registry

FamilyArgument = Annotated[str | None, typer.Argument(help="Only this family.")]


def register(app: typer.Typer) -> None:
    app.command()(tasks)
    app.command()(methods)
    app.command()(papers)
    group = typer.Typer(help="Built-in suites and the suite format.", no_args_is_help=True)
    group.command("list")(suite_list)
    group.command("show")(suite_show)
    group.command("schema")(suite_schema)
    app.add_typer(group, name="suite")


def tasks(family: FamilyArgument = None, as_json: JsonOption = False) -> None:
    """List tasks with their parameters and metrics."""
    rows: list[dict[str, Any]] = [
        {
            "task": task.id(),
            "family": task.family,
            "version": task.version,
            "label": task.label,
            "doc": _first_line(task),
            "params": _params(task),
            "metrics": [
                {"metric": metric.id, "unit": metric.unit, "direction": metric.direction, "primary": metric.primary, "doc": metric.doc}
                for metric in task.metrics
            ],
        }
        for _, task in sorted(_registry(family).tasks.items())
        if family in (None, task.family)
    ]
    if as_json:
        print_json(rows)
        return
    console = stdout()
    arrows = {"lower": "↓", "higher": "↑", "none": ""}
    for row in rows:
        console.print(f"[bold]{row['task']}[/] (version {row['version']}): {row['doc']}")
        for name, default in row["params"].items():
            console.print(f"    {name} = {default}", markup=False)
        shown = ", ".join(f"{item['metric']} {arrows[item['direction']]} [{item['unit']}]" for item in row["metrics"])
        console.print(f"    metrics: {shown}", markup=False)


def methods(family: FamilyArgument = None, as_json: JsonOption = False) -> None:
    """List methods with their parameters and papers."""
    rows: list[dict[str, Any]] = [
        {
            "method": method.id(),
            "family": method.family,
            "version": method.version,
            "label": method.label,
            "paper": method.paper,
            "doc": _first_line(method),
            "params": _params(method),
        }
        for _, method in sorted(_registry(family).methods.items())
        if family in (None, method.family)
    ]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("method", "paper", "what it is", "parameters (defaults)", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        defaults = ", ".join(f"{name}={value}" for name, value in row["params"].items())
        table.add_row(row["method"], str(row["paper"] or ""), row["doc"], defaults)
    stdout().print(table)


def papers(
    family: FamilyArgument = None,
    db: Annotated[str, typer.Option("--db", help="A ledger: show the verdicts that its results give each paper.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the papers, which methods and claims they have here and on which tasks, and what a ledger says about them."""
    from tasks.papers import papers as all_papers

    registry = _registry(None)
    empty: dict[str, list[str]] = {"methods": [], "tasks": [], "claims": []}
    by_paper: dict[int, dict[str, list[str]]] = defaultdict(lambda: {name: [] for name in empty})
    for method in registry.methods.values():
        if method.paper is not None:
            by_paper[method.paper]["methods"].append(method.id())
    for claim in registry.claims.values():
        by_paper[claim.paper]["claims"].append(claim.id)
        if claim.task not in by_paper[claim.paper]["tasks"]:
            by_paper[claim.paper]["tasks"].append(claim.task)

    def served(paper: int) -> list[str]:
        """Methods and tasks of a paper: a family may hold those of papers that belong to another."""
        known = by_paper.get(paper, empty)
        return [*known["methods"], *known["tasks"]]

    rows: list[dict[str, Any]] = [
        {"paper": paper.paper, "family": paper.family, "tier": paper.tier, "title": paper.title} | by_paper.get(paper.paper, empty)
        for paper in all_papers()
        if family in (None, paper.family) or any(name.startswith(f"{family}/") for name in served(paper.paper))
    ]
    verdicts = _verdicts(db) if db else {}
    for row in rows if db else ():
        row["verdicts"] = {claim: verdicts[claim] for claim in row["claims"] if claim in verdicts}
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    heads = ("paper", "family", "title", "methods", "tasks", "verdicts" if db else "claims")
    table = Table(*heads, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        counts = Counter(row.get("verdicts", {}).values())
        last = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())) if db else str(len(row["claims"]) or "")
        table.add_row(str(row["paper"]), row["family"], row["title"], ", ".join(row["methods"]), ", ".join(row["tasks"]), last)
    stdout().print(table)
    covered = sum(bool(row["methods"] or row["claims"]) for row in rows)
    stderr().print(f"{covered} of {len(rows)} papers have a method or a claim.")


def _verdicts(db: str) -> dict[str, str]:
    """Status of each claim by the results of the ledger, controls marked."""
    from reports.claims.verdicts import decide, families_with_claims

    with open_ledger(db, read_only=True) as ledger:
        decided = [one for name in families_with_claims(ledger) for one in decide(ledger, name)]
    return {one.definition.id: one.status + (" (control)" if one.definition.control else "") for one in decided}


def suite_list(as_json: JsonOption = False) -> None:
    """List the built-in suites."""
    from harness.suite import built_in_suites, load_suite

    rows = [{"suite": name, "description": load_suite(name).suite.description} for name in built_in_suites()]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        stdout().print(f"[bold]{row['suite']}[/]  {row['description']}")


def suite_show(suite: Annotated[str, typer.Argument(help="A YAML file or a built-in suite.")]) -> None:
    """Print a suite as resolved (extends merged, seeds expanded)."""
    from harness.suite import load_suite

    print(load_suite(suite).text, end="")


def suite_schema() -> None:
    """Print the JSON Schema of a suite file, for editors."""
    from harness.suite import json_schema

    print_json(json_schema())


def _registry(family: str | None) -> Registry:
    """The registry with `family` (None: everything) loaded; broken plugins are reported on stderr."""
    from tasks.registry import REGISTRY

    if family is None:
        REGISTRY.load_all()
    else:
        REGISTRY.load_family(family)
        REGISTRY.load_entry_points()
    for name, problem in REGISTRY.problems.items():
        stderr().print(f"The plugin {name} could not be loaded: {problem}", style="yellow", markup=False)
    return REGISTRY


def _first_line(cls: type) -> str:
    return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())


def _params(cls: Any) -> dict[str, Any]:
    return {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}
