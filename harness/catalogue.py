"""What the ledger is told about tasks, methods, papers and claims at the start of a run, so that reports need none of their code."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from db.records import Catalogue, ClaimRow, MethodRow, MetricRow, PaperRow, TaskRow
from harness.identity import content_key
from tasks.api import Claim, Method, Parametrised, Setting, Task
from tasks.papers import papers
from tasks.registry import Registry, resolve


def catalogue(registry: Registry, families: Iterable[str]) -> Catalogue:
    """Rows for everything registered in these families, and all papers."""
    wanted = set(families)
    settings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for setting in registry.settings:
        settings[setting.method].append(_setting(registry, setting))
    return Catalogue(
        tasks=[_task(task) for _, task in sorted(registry.tasks.items()) if task.family in wanted],
        methods=[_method(method, settings[name]) for name, method in sorted(registry.methods.items()) if method.family in wanted],
        papers=[PaperRow(paper.paper, paper.title, paper.family, paper.tier, paper.benchmark) for paper in papers()],
        claims=[claim_row(claim) for _, claim in sorted(registry.claims.items()) if claim.task.split("/")[0] in wanted],
    )


def claim_row(claim: Claim) -> ClaimRow:
    """The claim as data; its hash shows any later edit."""
    definition = asdict(claim)
    return ClaimRow(
        claim=claim.id,
        paper=claim.paper,
        family=claim.task.split("/")[0],
        statement=claim.statement,
        task=claim.task,
        metric=claim.metric,
        definition=definition,
        hash=content_key(definition),
    )


def _doc(cls: type[Parametrised]) -> str:
    return inspect.cleandoc(cls.__doc__ or "")


def _task(task: type[Task]) -> TaskRow:
    metrics = [
        MetricRow(task.id(), metric.id, metric.unit, metric.direction, metric.doc, metric.primary, metric.curve, metric.low, metric.high)
        for metric in task.metrics
    ]
    return TaskRow(task.id(), task.family, task.version, task.label, _doc(task), task.model_json_schema(), metrics)


def _setting(registry: Registry, setting: Setting) -> dict[str, Any]:
    """The setting with all parameters resolved, as reports compare them with those of trials."""
    task = resolve(registry.task(setting.task), setting.task_params, setting.task)
    row = {"name": setting.name, "task": setting.task, "task_params": task.params()}
    if setting.params is None:
        return {**row, "params": None, "why": setting.why}
    return {**row, "params": resolve(registry.method(setting.method), setting.params, setting.method).params(), "told": setting.told}


def _method(method: type[Method], settings: list[dict[str, Any]]) -> MethodRow:
    schema = method.model_json_schema()
    return MethodRow(
        method=method.id(),
        family=method.family,
        version=method.version,
        label=method.label,
        doc=_doc(method),
        paper=method.paper,
        knowledge=method.knowledge,
        params_schema={**schema, "x-settings": settings} if settings else schema,
    )
