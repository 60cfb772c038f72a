"""Conformance of tasks and methods: what every one of them must keep, built in or from a plugin.

`check_task_method` runs one pair and returns what it found; `TaskConformance` is the same as a pytest class to subclass; `LocalContext`
is a small context for tests, notebooks and plugins that run a task without the harness.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tasks.api import CLOCK_UNITS, Fixture, Measured, Method, Metric, Task
from tasks.errors import TaskError
from tasks.validation import check


class LocalContext:
    """A `Context` in this process: fixtures are built once per `folder` and loaded once per object.

    `folder` receives the fixtures and the scratch folder. There are no locks: use it from one process at a time.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self.device = Path(folder), device
        self.folder.mkdir(parents=True, exist_ok=True)
        self.scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=self.folder))
        self._loaded: dict[str, Any] = {}

    def fixture(self, fixture: Fixture) -> Any:
        key = fixture.key()
        if key not in self._loaded:
            place = self.folder / f"fixture-{key}"
            if not place.exists():
                partial = Path(tempfile.mkdtemp(prefix="building-", dir=self.folder))
                fixture.build(partial, LocalContext(self.folder, self.device))
                partial.rename(place)
            self._loaded[key] = fixture.load(place)
        return self._loaded[key]


class _TrialContext:
    """The context of a checked trial: it hands out the fixtures that the task declared, and no others."""

    def __init__(self, folder: Path, declared: Mapping[str, Any]) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="trial-", dir=folder))
        self.device = "cpu"
        self._declared = declared

    def fixture(self, fixture: Fixture) -> Any:
        try:
            return self._declared[fixture.key()]
        except KeyError:
            raise TaskError(
                f"the trial asked for a fixture that fixtures(seed) doesn't declare: {fixture.name} {fixture.params()}"
            ) from None


#: Audit events that change files or reach out, and which of their arguments is the path or the address.
_WRITE_EVENTS = {
    "os.mkdir": 0,
    "os.remove": 0,
    "os.rmdir": 0,
    "os.rename": 1,
    "os.link": 1,
    "os.symlink": 1,
    "os.truncate": 0,
    "shutil.rmtree": 0,
}
_NETWORK_EVENTS = {"socket.connect": 1, "socket.bind": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
_active: list[tuple[list[str], tuple[Path, ...]]] = []
_installed = False


@contextlib.contextmanager
def confined(*folders: Path) -> Iterator[list[str]]:
    """Refuse network access, and note writes outside `folders`, by the Python code that runs inside.

    Works through Python's audit events: what a C library does without telling Python is not seen, except that the code runs in an empty
    working directory where stray files are noticed. Caches of byte code and compiled kernels are allowed.
    """
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True
    trespass: list[str] = []
    allowed, before = tuple(Path(folder).resolve() for folder in folders), Path.cwd()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        _active.append((trespass, allowed))
        try:
            yield trespass
        finally:
            _active.pop()
            os.chdir(before)
        trespass += [f"it left {path.name} in the working directory" for path in Path(empty).iterdir()]


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active:
        return
    trespass, allowed = _active[-1]
    if event in _NETWORK_EVENTS:
        address = arguments[_NETWORK_EVENTS[event]]
        if not isinstance(address, str | bytes) or event in ("socket.getaddrinfo", "socket.gethostbyname"):
            trespass.append(f"it used the network ({event} {address})")
            raise PermissionError(f"no network access inside a trial ({event} {address})")
    elif event in _WRITE_EVENTS:
        _note_write(trespass, allowed, arguments[_WRITE_EVENTS[event]])
    elif event == "open" and _writes(arguments[1], arguments[2]):
        _note_write(trespass, allowed, arguments[0])


def _writes(mode: str | None, flags: int) -> bool:
    return any(letter in mode for letter in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _note_write(trespass: list[str], allowed: Sequence[Path], target: Any) -> None:
    if not isinstance(target, str | bytes | os.PathLike):
        return  # a file descriptor that was opened before
    path = Path(os.path.realpath(os.fsdecode(target)))
    if path == Path(os.devnull) or any(path.is_relative_to(folder) for folder in allowed):
        return
    if any(part in ("__pycache__", "numba") or part.startswith("torchinductor_") for part in path.parts):
        return  # byte code and compiled kernels, which Python, numba and torch keep for later processes
    offence = f"it wrote outside its scratch folder ({path})"
    if offence not in trespass:
        trespass.append(offence)


@dataclass(frozen=True, slots=True)
class Check:
    """One rule and what broke it: `problem` is a sentence, or empty when the rule holds."""

    rule: str
    problem: str = ""


def same_bits(one: Measured, other: Measured, metrics: Sequence[Metric]) -> str:
    """Where two measurements of one trial differ in any bit, clock metrics aside; empty if nowhere."""
    clocks = {metric.id for metric in metrics if metric.unit in CLOCK_UNITS}
    for name in sorted((one.metrics.keys() | other.metrics.keys()) - clocks):
        value, again = one.metrics.get(name), other.metrics.get(name)
        if value is None or again is None or np.float64(value).tobytes() != np.float64(again).tobytes():
            return f"{name} is {value!r} in one run and {again!r} in the other"
    for name in sorted((one.curves.keys() | other.curves.keys()) - clocks):
        if name not in one.curves or name not in other.curves:
            return f"the curve {name} is missing in one of two runs"
        for a, b in zip(one.curves[name], other.curves[name], strict=True):
            if np.asarray(a, dtype=np.float64).tobytes() != np.asarray(b, dtype=np.float64).tobytes():
                return f"the curve {name} differs between two runs"
    return ""


def declaration(task: Task) -> str:
    """What is wrong with the task's declaration, or an empty string."""
    metrics, ids = task.metrics, [metric.id for metric in task.metrics]
    if len(set(ids)) < len(ids):
        return "a metric is declared twice"
    if [metric.curve for metric in metrics if metric.primary] != [None]:
        return "exactly one scalar metric must be primary"
    if task.primary_metric().direction == "none":
        return "the primary metric needs a direction"
    if undocumented := [metric.id for metric in metrics if not (metric.unit and metric.doc)]:
        return f"metrics without unit or doc: {', '.join(undocumented)}"
    if not (type(task).__doc__ or "").strip():
        return "the task has no docstring"
    if task.data_fingerprint() != task.data_fingerprint():
        return "the data fingerprint changes from call to call"
    return ""


def round_trip(model: Task | Method) -> str:
    """Whether parameters survive JSON: an empty string if they do."""
    again = type(model)(**json.loads(json.dumps(model.params(), allow_nan=False)))
    return "" if again == model and again.params() == model.params() else f"{model.params()} becomes {again.params()}"


def check_task_method(task: Task, method: Method, folder: Path, seeds: Sequence[int] = (0, 1)) -> list[Check]:
    """Every conformance check on one task with one method; trials run in `folder`, which also caches fixtures.

    Costs two trials of the first seed, and one more of every seed where the task runs seeds together.
    """
    checks = [
        Check("the task's declaration is complete", declaration(task)),
        Check("the method has a docstring", "" if (type(method).__doc__ or "").strip() else "the method has no docstring"),
        Check("the task's parameters survive JSON", round_trip(task)),
        Check("the method's parameters survive JSON", round_trip(method)),
    ]
    if reason := task.infeasible(method):
        return [*checks, Check(f"the task can't run the method with these parameters, so no trial was made: {reason}")]
    local = LocalContext(folder)

    def trial(seeds: Sequence[int], together: bool) -> tuple[Mapping[int, Measured], list[str]]:
        declared = {fixture.key(): local.fixture(fixture) for seed in seeds for fixture in task.fixtures(seed)}
        context = _TrialContext(folder, declared)
        with confined(context.scratch) as trespass:
            measured = task.run_seeds(method, seeds, context) if together else {seed: task.run(method, seed, context) for seed in seeds}
        return measured, trespass

    first = seeds[0]
    try:
        one, trespass = trial([first], together=False)
        two, _ = trial([first], together=False)
        checks += [
            Check("metrics are declared, finite and in range", check(task, method.id(), one[first]).complaint),
            Check("the same seed gives the same bits", same_bits(one[first], two[first], task.metrics)),
            Check("no network, and nothing written outside the scratch folder", "; ".join(trespass)),
        ]
        if task.seeds_together:
            alone, _ = trial(seeds[1:], together=False)
            group, _ = trial(seeds, together=True)
            differing = [problem for seed in seeds if (problem := same_bits({**one, **alone}[seed], group[seed], task.metrics))]
            checks.append(Check("seeds run together equal seeds run alone", differing[0] if differing else ""))
    except Exception as error:
        checks.append(Check("a trial runs to its end", f"{type(error).__name__}: {error}"))
    return checks


class TaskConformance:
    """Subclass in a test module, set `task` and `method` to instances, and pytest runs every check.

    >>> class TestMyMethod(TaskConformance):
    ...     task, method = MyTask(), MyMethod()
    """

    task: ClassVar[Task]
    method: ClassVar[Method]

    def test_conformance(self, tmp_path: Path) -> None:
        problems = [f"{check.rule}: {check.problem}" for check in check_task_method(self.task, self.method, tmp_path) if check.problem]
        assert not problems, "; ".join(problems)
