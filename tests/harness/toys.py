"""Plans of toy trials, without a suite: what tests of the scheduler run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from db.records import Environment, Run, Trial
from harness.engines.base import Shape
from harness.fixtures import FixtureStore
from harness.identity import canonical_json, content_key, trial_keys
from harness.planned import Plan, PlannedFixture, PlannedTrial
from tasks.api import PROTOCOL
from tasks.registry import REGISTRY

PLUGIN = str(Path(__file__).with_name("toy_plugin.py"))


def toys(
    method: str,
    seeds: Iterable[int] = (0,),
    *,
    task: str = "single",
    task_params: dict[str, Any] | None = None,
    timeout: float = 20.0,
    shape: Shape = Shape(),
    expect: float | None = None,
    priority: int = 0,
    store: FixtureStore | None = None,
    fixtures: dict[str, PlannedFixture] | None = None,
    **params: Any,
) -> list[PlannedTrial]:
    """Planned trials of one toy method. `expect` is the planner's idea of a trial's seconds; with `store` and
    `fixtures` the task's fixtures are planned too."""
    REGISTRY.load_plugin(PLUGIN)
    task_object = REGISTRY.task(f"toy/{task}")(**(task_params or {}))
    method_object = REGISTRY.method(f"toy/{method}")(**params)
    identity: dict[str, Any] = {
        "task": task_object.id(),
        "task_version": task_object.version,
        "task_params": task_object.params(),
        "method": method_object.id(),
        "method_version": method_object.version,
        "method_params": method_object.params(),
        "data_fingerprint": task_object.data_fingerprint(),
        "protocol": PROTOCOL,
    }
    planned = []
    seeds = list(seeds)
    for seed, key in zip(seeds, trial_keys(seeds, **identity), strict=True):
        needed = task_object.fixtures(seed) if store is not None and fixtures is not None else ()
        keys = tuple(_plan_fixture(fixture, store, fixtures) for fixture in needed)
        planned.append(
            PlannedTrial(
                Trial(key=key, family="toy", seed=seed, **identity),
                canonical_json([task_object.params(), method_object.id(), method_object.params()]) if task_object.seeds_together else "",
                keys,
                timeout,
                shape,
                task_object.seconds if expect is None else expect,
                priority,
            )
        )
    return planned


def _plan_fixture(fixture, store, fixtures) -> str:
    needs = tuple(_plan_fixture(need, store, fixtures) for need in fixture.needs())
    key = fixture.key()
    fixtures[key] = PlannedFixture(key, fixture.name, fixture.params(), needs, fixture.seconds, store.present(fixture))
    return key


def toy_plan(*planned: Sequence[PlannedTrial], fixtures: Iterable[PlannedFixture] = ()) -> Plan:
    todo = [trial for group in planned for trial in group]
    return Plan("toys", "name: toys\n", [item.trial for item in todo], todo, list(fixtures), plugins=(PLUGIN,))


def start_run(ledger, run_id: str = "run-1", planned: int = 0) -> str:
    content = {"test": True}
    ledger.start_run(Run(run_id, "toys", "name: toys\n", "test", ["test"], planned), Environment(content_key(content), content))
    return run_id
