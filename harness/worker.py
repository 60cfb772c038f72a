"""Executes units: resolves task and method by name, seeds everything, runs, validates, and turns whatever happens into an outcome.

This is the only code that runs in workers. It never opens the ledger and never raises because of what a task or method did.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from db.records import Outcome
from harness.engines.base import FixtureUnit, TrialResult, TrialUnit, Unit
from harness.engines.processes import CpuClock
from harness.errors import FixtureError
from harness.fixtures import FixtureStore
from harness.identity import canonical_json
from harness.provenance import environment
from tasks.api import Context, Fixture, Measured, Method, Task
from tasks.errors import InvalidResult, TaskError
from tasks.registry import REGISTRY, resolve
from tasks.validation import check

#: Longest traceback, error sentence and stream tail that travel to the ledger, in characters.
TRACEBACK_LIMIT, SENTENCE_LIMIT = 16_000, 500


class SoftStop(BaseException):
    """Raised inside a running unit to end it (time-out, memory limit, cancellation). Not an Exception, so that a task's own
    `except Exception` does not swallow it."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome


class UnitContext:
    """What a task sees of the harness while it runs. The scratch folder exists from the first time it is asked for."""

    def __init__(self, store: FixtureStore, device: str, scratch_root: Path) -> None:
        self.device = device
        self._store, self._root, self._scratch = store, scratch_root, None  # type: tuple[FixtureStore, Path, Path | None]

    @property
    def scratch(self) -> Path:
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="unit-", dir=self._root))
        return self._scratch

    def fixture(self, fixture: Fixture) -> Any:
        return self._store.get(fixture, cast(Context, self))

    def close(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Executed:
    """How a unit ended, with its times."""

    results: tuple[TrialResult, ...]
    started: float  #: seconds since the epoch
    seconds: float
    cpu_seconds: float


class Executor:
    """Executes units one after another in this process."""

    def __init__(self, cache_dir: str, device: str, threads: int, scratch_root: Path) -> None:
        self._store = FixtureStore(cache_dir)
        self._device, self._threads, self._scratch_root = device, threads, scratch_root
        self._resolved: dict[tuple[str, str, str, str], tuple[Task, Method]] = {}
        self._previous: tuple[TrialUnit, tuple[Task, Method]] | None = None
        self._cpu = CpuClock()
        self._set_threads()

    def execute(self, unit: Unit, plugins: Sequence[str] = (), begin: Callable[[], None] = lambda: None) -> Executed:
        """Run one unit. `begin` is called when the clock starts: after imports, which the first unit of a family would else pay for."""
        keys = unit.keys if isinstance(unit, TrialUnit) else (unit.key,)
        context = UnitContext(self._store, self._device, self._scratch_root)
        run: Callable[[], tuple[TrialResult, ...]] | None = None
        try:
            run = self._prepare(unit, plugins, context)
        except SoftStop:
            raise
        except BaseException as error:
            _pass_on_interrupt(error)
            results = _all(keys, *describe(error))
        begin()
        started, wall = time.time(), time.perf_counter()
        self._cpu.start()
        try:
            if run is not None:
                results = run()
        except BaseException as error:
            _pass_on_interrupt(error)
            results = _all(keys, *describe(error))
        finally:
            seconds, cpu_seconds = time.perf_counter() - wall, self._cpu.stop()
            context.close()
        return Executed(results, started, seconds, cpu_seconds)

    def environment(self) -> dict[str, Any]:
        return environment()

    def _prepare(self, unit: Unit, plugins: Sequence[str], context: UnitContext) -> Callable[[], tuple[TrialResult, ...]]:
        for plugin in plugins:
            REGISTRY.load_plugin(plugin)
        if isinstance(unit, FixtureUnit):
            fixture = resolve(REGISTRY.fixture(unit.fixture), unit.params, f"fixture {unit.fixture}")
            return lambda: self._build(unit, fixture, context)
        task, method = self._resolve(unit)
        return lambda: self._run(unit, task, method, cast(Context, context))

    def _build(self, unit: FixtureUnit, fixture: Fixture, context: UnitContext) -> tuple[TrialResult, ...]:
        seed_globals(int(unit.key[:15] or "0", 16) if _is_hex(unit.key[:15]) else 0, self._device)
        self._store.build(fixture, cast(Context, context))
        return (TrialResult(unit.key, "ok"),)

    def _resolve(self, unit: TrialUnit) -> tuple[Task, Method]:
        if self._previous is not None:  # seeds of one configuration follow each other and share their mappings
            before, known = self._previous
            same = unit.task_params is before.task_params and unit.method_params is before.method_params
            if same and unit.task == before.task and unit.method == before.method:
                return known
        key = (unit.task, canonical_json(unit.task_params), unit.method, canonical_json(unit.method_params))
        if key not in self._resolved:
            task = resolve(REGISTRY.task(unit.task), unit.task_params, f"task {unit.task}")
            method = resolve(REGISTRY.method(unit.method), unit.method_params, f"method {unit.method}")
            self._resolved[key] = (task, method)
        self._previous = (unit, self._resolved[key])
        return self._resolved[key]

    def _run(self, unit: TrialUnit, task: Task, method: Method, context: Context) -> tuple[TrialResult, ...]:
        seed_globals(task.streams(unit.seeds[0]).integer("method"), self._device)
        if not task.seeds_together:
            return tuple(
                _validated(task, unit, key, task.run(method, seed, context)) for key, seed in zip(unit.keys, unit.seeds, strict=True)
            )
        try:
            return _group(task, unit, task.run_seeds(method, unit.seeds, context))
        except Exception:
            if len(unit.seeds) == 1:
                raise
        # One seed of the group failed and took the others with it: run each alone, so that only the culprit is blamed.
        results: list[TrialResult] = []
        for key, seed in zip(unit.keys, unit.seeds, strict=True):
            seed_globals(task.streams(seed).integer("method"), self._device)
            alone = TrialUnit(unit.task, unit.task_params, unit.method, unit.method_params, (seed,), (key,), unit.timeout)
            try:
                results += _group(task, alone, task.run_seeds(method, (seed,), context))
            except Exception as error:
                results += _all((key,), *describe(error))
        return tuple(results)

    def _set_threads(self) -> None:
        """Numeric libraries may use this many threads: more would change bits and the speed of neighbours."""
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(self._threads)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(self._threads)


def _pass_on_interrupt(error: BaseException) -> None:
    """Raise a KeyboardInterrupt on if somebody pressed Ctrl-C. Where another handler owns SIGINT (a run, a worker process), the signal
    can't have raised it: then the task or the method did, and it fails like any other."""
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        raise error


def seed_globals(seed: int, device: str) -> None:
    """Seed the global generators. Only a safety net: tasks and methods draw from `task.streams(seed)`."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed & 0xFFFFFFFF)
    if torch := sys.modules.get("torch"):
        if device == "cpu":  # torch.manual_seed costs 0.3 ms where CUDA is not initialised, ten times as much as a no-op trial
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)


def describe(error: BaseException) -> tuple[Outcome, str, str]:
    """Outcome, one sentence and traceback of an exception that a task, a method or a fixture raised."""
    outcome: Outcome = "error"
    if isinstance(error, SoftStop):
        outcome, text = error.outcome, str(error)
    elif isinstance(error, InvalidResult):
        outcome, text = "invalid", str(error)
    elif isinstance(error, (TaskError, FixtureError)):
        text = str(error)
    else:
        if _out_of_memory(error):
            outcome = "oom"
        first_line = str(error).strip().split("\n", 1)[0]
        text = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
        text += _place(error)
    trace = "".join(traceback.format_exception(error))
    return outcome, text[:SENTENCE_LIMIT], trace[-TRACEBACK_LIMIT:]


def _out_of_memory(error: BaseException) -> bool:
    # torch raises a plain RuntimeError when malloc fails on the CPU, and its own OutOfMemoryError on a GPU.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


def _place(error: BaseException) -> str:
    """Where it was raised; the traceback has the rest."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _group(task: Task, unit: TrialUnit, measured: Mapping[int, Measured]) -> tuple[TrialResult, ...]:
    if not isinstance(measured, Mapping) or set(measured) != set(unit.seeds):
        got = sorted(measured) if isinstance(measured, Mapping) else type(measured).__name__
        raise InvalidResult(f"{unit.task} with {unit.method} returned {got} from run_seeds instead of the seeds {list(unit.seeds)}.")
    return tuple(_validated(task, unit, key, measured[seed]) for key, seed in zip(unit.keys, unit.seeds, strict=True))


def _validated(task: Task, unit: TrialUnit, key: str, measured: object) -> TrialResult:
    checked = check(task, unit.method, measured)
    return TrialResult(
        key, "invalid" if checked.complaint else "ok", checked.metrics, checked.curves, checked.info, checked.complaint[:SENTENCE_LIMIT]
    )


def _all(keys: Sequence[str], outcome: Outcome, error: str, trace: str) -> tuple[TrialResult, ...]:
    return tuple(TrialResult(key, outcome, error=error, traceback=trace) for key in keys)


def _is_hex(text: str) -> bool:
    with suppress(ValueError):
        return int(text, 16) >= 0
    return False
