"""The planner: expands a suite into trials with content keys, subtracts what the ledger holds, and finds the fixtures they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from db.ledger import Ledger
from db.records import Trial
from harness.catalogue import catalogue
from harness.engines.base import Shape
from harness.errors import SuiteError
from harness.fixtures import FixtureStore
from harness.identity import canonical_json, trial_keys
from harness.planned import Infeasible, Plan, PlannedFixture, PlannedTrial
from harness.suite import ALL, Filter, LoadedSuite, MethodEntry, ResourceEntry, Suite, TaskEntry
from tasks.api import PROTOCOL, Fixture, Method, Task
from tasks.errors import TaskError
from tasks.registry import Registry, resolve


@dataclass(frozen=True, slots=True, eq=False)
class _Arm:
    """What the trials of one task configuration with one method configuration share."""

    task: Task
    entry: TaskEntry
    config: tuple[str, str, str, str]  #: task, its parameters, method, its parameters; parameters as JSON
    group: str
    shape: Shape
    reason: str | None  #: why it can't run


@dataclass
class _Fixtures:
    """Fixtures in an order in which they can be built, each once."""

    store: FixtureStore
    planned: dict[str, PlannedFixture] = field(default_factory=dict)
    objects: dict[str, Fixture] = field(default_factory=dict)
    _keys: dict[Fixture, str] = field(default_factory=dict)

    def add(self, fixture: Fixture) -> str:
        if (known := self._keys.get(fixture)) is not None:
            return known
        needs = tuple(self.add(need) for need in fixture.needs())
        key = self._keys[fixture] = fixture.key()
        present = self.store.present(fixture)
        self.planned[key] = PlannedFixture(key, fixture.name, fixture.params(), needs, fixture.seconds, present)
        self.objects[key] = fixture
        return key


def make_plan(loaded: LoadedSuite, registry: Registry, ledger: Ledger | None, store: FixtureStore) -> Plan:
    """The plan of a suite against a ledger (None: an empty one). Raises SuiteError naming file, line and what is wrong."""
    for plugin in loaded.plugins:
        try:
            registry.load_plugin(plugin)
        except TaskError as error:
            raise SuiteError(f"{loaded.origin}: {error}") from error
    candidates = _expand(loaded, registry)
    statuses = ledger.statuses(candidates) if ledger is not None else {}
    history = _history(ledger, {trial.task for trial, _ in candidates.values()})
    fixtures = _Fixtures(store)
    todo: list[PlannedTrial] = []
    infeasible: list[Infeasible] = []
    done: set[str] = set()
    failed: set[str] = set()
    trials: list[Trial] = []
    for key, (trial, arm) in candidates.items():
        if arm.reason is not None:
            infeasible.append(Infeasible(trial, arm.reason))
            continue
        trials.append(trial)
        status = statuses.get(key)
        if status is not None and status.state == "done":
            done.add(key)
        elif status is not None and status.state in ("failed", "quarantined"):
            failed.add(key)
        else:
            todo.append(_planned(trial, arm, loaded, fixtures, history))
    used_tasks = {type(arm.task) for _, arm in candidates.values()}
    return Plan(
        suite=loaded.suite.name,
        suite_text=loaded.text,
        trials=trials,
        todo=todo,
        fixtures=list(fixtures.planned.values()),
        done=frozenset(done),
        failed=frozenset(failed),
        infeasible=infeasible,
        plugins=loaded.plugins,
        catalogue=catalogue(registry, {task.family for task in used_tasks}),
    )


def damaged_fixtures(plan: Plan, registry: Registry, store: FixtureStore) -> list[str]:
    """Set damaged fixtures of the plan aside; returns the sentences to show. They are built again by the run."""
    complaints = []
    for planned in plan.fixtures:
        if planned.present:
            fixture = registry.fixture(planned.name)(**planned.params)
            if complaint := store.repair(fixture):
                complaints.append(complaint)
    return complaints


def _expand(loaded: LoadedSuite, registry: Registry) -> dict[str, tuple[Trial, _Arm]]:
    """Every trial the suite asks for, by key, in the suite's order; a trial that two entries ask for stands once."""
    suite = loaded.suite
    candidates: dict[str, tuple[Trial, _Arm]] = {}
    for entry, place in zip(suite.tasks, loaded.places, strict=True):
        with _at(place.task):
            task_class = registry.task(entry.task)
            tasks = [resolve(task_class, params, f"task {entry.task}") for params in entry.expand()]
        methods: list[Method] = []
        for item, method_place in zip(entry.methods, place.methods, strict=True):
            with _at(method_place):
                methods += _methods(item, task_class, registry)
        with _at(place.task):
            for task in tasks:
                fingerprint = task.data_fingerprint()
                for method in methods:
                    arm = _arm(task, method, entry, suite)
                    for trial in _trials(task, fingerprint, method, entry.seeds or suite.seeds):
                        if _selected(trial, suite.include, suite.exclude):
                            candidates.setdefault(trial.key, (trial, arm))
    if not candidates:
        raise SuiteError(f"{loaded.origin}: include and exclude leave no trial to run.")
    reasons = dict.fromkeys(arm.reason for _, arm in candidates.values())
    if None not in reasons:
        raise SuiteError(f"{loaded.origin}: no trial of the suite can run: {' '.join(filter(None, reasons))}")
    return candidates


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Errors inside name this place of the suite."""
    try:
        yield
    except TaskError as error:
        raise SuiteError(f"{place}: {error}") from error


def _methods(item: MethodEntry, task: type[Task], registry: Registry) -> list[Method]:
    if item.method == ALL:
        return [resolve(method, {}, f"method {method.id()}") for method in registry.methods_for(task)]
    method = registry.method(item.method, task.family)
    return [resolve(method, params, f"method {item.method}") for params in item.expand()]


def _arm(task: Task, method: Method, entry: TaskEntry, suite: Suite) -> _Arm:
    if not isinstance(method, task.accepts):
        wanted = " or ".join(protocol.__name__ for protocol in task.accepts)
        reason: str | None = f"{task.id()} runs methods of the protocol {wanted}; {method.id()} is none."
    else:
        reason = task.infeasible(method)
    config = (task.id(), canonical_json(task.params()), method.id(), canonical_json(method.params()))
    shape = _shape(entry.resources or suite.resources, task.exclusive if entry.exclusive is None else entry.exclusive)
    return _Arm(task, entry, config, "\n".join(config) if task.seeds_together else "", shape, reason)


def _trials(task: Task, fingerprint: str, method: Method, seeds: Sequence[int]) -> Iterator[Trial]:
    """The trials of one arm. They share one mapping of parameters each, so that whoever serialises them can do it once."""
    identity: dict[str, Any] = {
        "task": task.id(),
        "task_version": task.version,
        "task_params": task.params(),
        "method": method.id(),
        "method_version": method.version,
        "method_params": method.params(),
        "data_fingerprint": fingerprint,
        "protocol": PROTOCOL,
    }
    for seed, key in zip(seeds, trial_keys(seeds, **identity), strict=True):
        yield Trial(key=key, family=task.family, seed=seed, **identity)


def _selected(trial: Trial, include: Sequence[Filter], exclude: Sequence[Filter]) -> bool:
    if include and not any(_matches(trial, item) for item in include):
        return False
    return not any(_matches(trial, item) for item in exclude)


def _matches(trial: Trial, item: Filter) -> bool:
    short = trial.method.split("/", 1)[1]
    return (
        fnmatchcase(trial.task, item.task)
        and (fnmatchcase(trial.method, item.method) or fnmatchcase(short, item.method))
        and all(trial.task_params.get(name) == value for name, value in item.task_params.items())
        and all(trial.method_params.get(name) == value for name, value in item.params.items())
        and (item.seeds is None or trial.seed in item.seeds)
    )


def _planned(trial: Trial, arm: _Arm, loaded: LoadedSuite, fixtures: _Fixtures, history: Mapping[tuple[str, ...], float]) -> PlannedTrial:
    task, entry, config = arm.task, arm.entry, arm.config
    seconds = history.get(config) or history.get(config[:3]) or history.get(config[:1]) or task.seconds
    return PlannedTrial(
        trial=trial,
        group=arm.group,
        fixtures=tuple(fixtures.add(fixture) for fixture in task.fixtures(trial.seed)),
        timeout=entry.timeout or loaded.suite.timeout or task.timeout,
        shape=arm.shape,
        seconds=seconds,
        priority=entry.priority,
    )


def _shape(resources: ResourceEntry, exclusive: bool) -> Shape:
    custom = tuple(sorted(resources.custom.items()))
    return Shape(cpus=resources.cpus, gpus=resources.gpus, memory=resources.memory or 0, custom=custom, exclusive=exclusive)


def _history(ledger: Ledger | None, tasks: Iterable[str]) -> dict[tuple[str, ...], float]:
    """Mean seconds of accepted attempts by (task, task_params, method, method_params), by (task, task_params, method) and by (task,)."""
    if ledger is None:
        return {}
    sums: dict[tuple[str, ...], tuple[float, int]] = {}
    for task in sorted(tasks):
        rows = ledger.query(
            "SELECT task, task_params, method, method_params, SUM(seconds) AS seconds, COUNT(*) AS n FROM trials"
            " WHERE task = :task AND state = 'done' AND seconds IS NOT NULL GROUP BY task, task_params, method, method_params",
            {"task": task},
        ).to_pylist()
        for row in rows:
            config = (row["task"], row["task_params"], row["method"], row["method_params"])
            for prefix in (config, config[:3], config[:1]):
                total, count = sums.get(prefix, (0.0, 0))
                sums[prefix] = (total + row["seconds"], count + row["n"])
    return {prefix: total / count for prefix, (total, count) in sums.items()}
